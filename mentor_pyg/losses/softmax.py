"""Exact softmax over all rows of a table, in memory that grows with (B + N) d."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from mentor_pyg.graph.edges import plain
from mentor_pyg.ops import unit_rows
from mentor_pyg.ops.contrast import CONTRAST_BACKENDS
from mentor_pyg.typing import Precision

__all__ = ["SOFTMAX_BACKENDS", "Similarity", "softmax_loss", "softmax_unavailable"]

Similarity: TypeAlias = Literal["dot", "cosine"]
"""``"dot"``: the dot product. ``"cosine"``: that of rows scaled to unit length."""

_PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_SIMILARITIES: tuple[Similarity, ...] = get_args(Similarity)

SOFTMAX_BACKENDS = tuple(CONTRAST_BACKENDS)
"""The names of the backends."""


def softmax_loss(
    query: Tensor,
    target: Tensor,
    table: Tensor,
    temperature: float | Tensor,
    backend: str = "auto",
    precision: Precision = "ieee",
    *,
    similarity: Similarity = "dot",
    row: Tensor | None = None,
    left_out: Tensor | None = None,
) -> Tensor:
    r"""Have queries find their rows among all rows of a table.

    .. math::
        \frac{1}{P} \sum_i - \log \frac{\exp(\mathbf{q}_i \cdot \mathbf{x}_{t_i} / \tau)}
        {\sum_j \exp(\mathbf{q}_i \cdot \mathbf{x}_j / \tau)}

    with :math:`j` over all rows of the table: the softmax of `"On the Effectiveness of Sampled
    Softmax Loss for Item Recommendation" <https://arxiv.org/abs/2201.02327>`_, not sampled.
    Equals ``F.cross_entropy((query @ table.t() / temperature)[row], target)``, and does not
    overflow, however large the scores.

    Args:
        query: The queries ``[B, d]``.
        target: The row of the table that is to be found ``[P]``, int64; of query ``i`` the
            ``i``-th, unless ``row`` says otherwise.
        table: The rows ``[N, d]``.
        temperature: The temperature :math:`\tau`, a number or a tensor of one. A tensor that
            requires a gradient gets it; keep it positive.
        backend: ``"naive"`` holds the ``B x N`` matrix. The others hold :math:`O((B + N) d)`
            values. ``"chunked"`` takes queries a few at a time and forms the gradient on the
            way, in :math:`6 B N d` operations; so does ``"native"``, in C++ compiled by ``make
            native``, for CPUs with AVX-512. ``"triton"`` streams over all pairs on a GPU, in
            :math:`8 B N d` operations. ``"auto"`` is ``"native"`` where it can run and else
            ``"chunked"``, on CUDA ``"chunked"`` and ``"triton"`` for what that lacks. A backend
            asked for by name runs or raises.
        precision: What the factors of the matrix products are rounded to; sums, and all that is
            not a product of matrices, are float32 in each. ``"ieee"``: nothing (under
            ``torch.compile`` what torch is set to holds instead). ``"tf32"``: 10
            bits of mantissa. ``"tf32x3"``: three tf32 products, about as exact as float32.
            ``"bf16"``: 7 bits. ``"triton"`` has all of them, ``"chunked"`` all but ``"tf32x3"``,
            on a CPU ``"bf16"`` with AMX and else ``"ieee"`` alone. ``"naive"`` has ``"ieee"``
            alone, and takes what torch is set to for it.
        similarity: What scores are: ``"dot"`` products or ``"cosine"`` similarities.
        row: The query of every target ``[P]``, int64, in any order: a query may have several
            targets, or none. What the softmax costs grows with queries, not with targets (but
            for ``"triton"``).
        left_out: A row of the table for each query ``[B]``, int64, that its softmax is without,
            and that is not to be found: itself, where queries are among the rows. ``"triton"``
            leaves none out.

    Returns:
        The mean over the targets, a scalar. It is computed in float32 at least, under autocast
        too; only ``"naive"`` can be differentiated twice.

    Raises:
        ValueError: If shapes do not fit, there are no targets, or an argument is out of range.
        UnavailableError: If the backend or the precision asked for cannot run; the message says
            why.

    Examples:
        >>> query, table = torch.eye(2), torch.eye(2)
        >>> loss = softmax_loss(query, torch.tensor([0, 1]), table, temperature=0.5)
        >>> bool(torch.isclose(loss, torch.tensor(1 + math.exp(-2)).log()))
        True
    """
    _check_rows(query, table)
    target = _checked_ids("target", target, table)
    if row is None and len(target) != len(query):
        raise ValueError(
            f"'target' needs one row for each of the {len(query)} queries (got {len(target)}); "
            f"'row' names the query of every target where there are others"
        )
    if row is not None:
        row = _checked_ids("row", row, query)
        if row.shape != target.shape:
            raise ValueError(
                f"'row' needs the query of each of the {len(target)} targets (got {len(row)})"
            )
    if left_out is not None:
        left_out = _checked_ids("left_out", left_out, table)
        if len(left_out) != len(query) or len(table) < 2:
            raise ValueError(
                f"'left_out' needs one of several rows for each of the {len(query)} queries "
                f"(got {len(left_out)}, of {len(table)} rows)"
            )
    if similarity not in _SIMILARITIES:
        raise ValueError(
            f"'similarity' needs to be one of {list(_SIMILARITIES)} (got {similarity!r})"
        )
    temperature = _checked_temperature(temperature)
    detail = _detail(precision)
    with torch.autocast(query.device.type, enabled=False):
        dtype = torch.promote_types(torch.promote_types(query.dtype, table.dtype), torch.float32)
        query, table = query.to(dtype), table.to(dtype)
        name = CONTRAST_BACKENDS.choose(backend, query.device, query, precision, detail=detail)
        has_unit_rows = similarity == "cosine"
        if has_unit_rows:
            query, table = unit_rows(query), unit_rows(table)
        if isinstance(temperature, Tensor):
            # Of unknown size: the scaling is taken out, and differentiated like any other.
            query, temperature, has_unit_rows = query / temperature, 1.0, False
        return CONTRAST_BACKENDS[name].cross_entropy(
            query, table, target, row, left_out, temperature, precision, has_unit_rows
        )


def softmax_unavailable(
    rows: Tensor, backend: str = "auto", precision: Precision = "ieee"
) -> str | None:
    """Return why :func:`softmax_loss` and ``info_nce`` cannot run; ``None`` where they can.

    Args:
        rows: Queries, or any rows ``[N, d]`` of the type, width and device in question.
        backend: The backend.
        precision: The precision of the products.

    Raises:
        ValueError: If there is no such backend or precision.
    """
    return CONTRAST_BACKENDS.unavailable(
        backend, rows.device, rows, precision, detail=_detail(precision)
    )


def _check_rows(query: Tensor, table: Tensor) -> None:
    if query.dim() != 2 or table.dim() != 2 or query.size(1) != table.size(1):
        raise ValueError(
            f"'query' and 'table' need shapes [B, d] and [N, d] of one width "
            f"(got {list(query.shape)} and {list(table.shape)})"
        )
    if query.device != table.device:
        raise ValueError(
            f"'query' and 'table' need to be on one device (got {query.device} and {table.device})"
        )


def _checked_ids(name: str, ids: Tensor, rows: Tensor) -> Tensor:
    """Return ids as a plain tensor, or raise unless all are those of rows."""
    ids = plain(ids)
    if ids.dim() != 1 or ids.dtype != torch.long or len(ids) == 0:
        raise ValueError(
            f"'{name}' needs int64 ids of shape [P], one at least "
            f"(got {ids.dtype} of shape {list(ids.shape)})"
        )
    if ids.device != rows.device:
        raise ValueError(f"'{name}' needs to be on {rows.device} (got {ids.device})")
    # Elsewhere a look would wait for the device, which refuses them itself.
    if ids.device.type != "cpu" or torch.compiler.is_compiling():
        return ids
    low, high = (int(bound) for bound in ids.aminmax())
    if low < 0 or high >= len(rows):
        raise ValueError(
            f"'{name}' needs ids from 0 to {len(rows) - 1} (got {low if low < 0 else high})"
        )
    return ids


def _checked_temperature(temperature: float | Tensor) -> float | Tensor:
    """Return a number, or a tensor that requires a gradient, whose value nobody waits for."""
    if isinstance(temperature, Tensor):
        if temperature.numel() != 1:
            raise ValueError(
                f"'temperature' needs to be one number (got shape {list(temperature.shape)})"
            )
        if temperature.requires_grad:
            return temperature.reshape(())
    temperature = float(temperature)
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"'temperature' needs to be a positive number (got {temperature})")
    return temperature


def _detail(precision: Precision) -> str:
    if precision not in _PRECISIONS:
        raise ValueError(f"'precision' needs to be one of {list(_PRECISIONS)} (got {precision!r})")
    return f"with precision {precision!r}"
