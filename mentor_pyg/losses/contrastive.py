"""Exact InfoNCE over all pairs, in memory that grows with N d."""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor

from mentor_pyg.ops.contrast import CONTRAST_BACKENDS
from mentor_pyg.typing import Precision

__all__ = ["INFO_NCE_BACKENDS", "info_nce", "info_nce_unavailable"]

_PRECISIONS: tuple[Precision, ...] = get_args(Precision)

INFO_NCE_BACKENDS = tuple(CONTRAST_BACKENDS)
"""The names of the backends."""


def info_nce(
    view_a: Tensor,
    view_b: Tensor,
    temperature: float | Tensor,
    backend: str = "auto",
    precision: Precision = "ieee",
) -> Tensor:
    r"""Contrast two views of the same nodes, every other node being a negative.

    .. math::
        \frac{1}{N} \sum_i - \log \frac{\exp(\cos(\mathbf{a}_i, \mathbf{b}_i) / \tau)}
        {\sum_j \exp(\cos(\mathbf{a}_i, \mathbf{b}_j) / \tau)}

    Equals ``F.cross_entropy(F.normalize(a) @ F.normalize(b).t() / temperature, arange(N))``.
    From `"Representation Learning with Contrastive Predictive Coding"
    <https://arxiv.org/abs/1807.03748>`_.

    Args:
        view_a: The anchors ``[N, d]``, not normalised.
        view_b: What they are contrasted with ``[N, d]``; row ``i`` is the positive of anchor ``i``.
        temperature: The temperature :math:`\tau`, a number or a tensor of one. A tensor that
            requires a gradient gets it, from every backend but ``"triton"``; keep it positive.
        backend: ``"naive"`` holds the ``N x N`` matrix. ``"chunked"`` takes rows a few at a time
            and forms the gradient on the way, so that it holds :math:`O(N d)` values and spends
            :math:`6 N^2 d` operations. ``"triton"`` streams over all pairs on a GPU and keeps
            none, in :math:`8 N^2 d` operations. ``"auto"`` is ``"chunked"``, and on CUDA
            ``"triton"`` for what that lacks. A backend asked for by name runs or raises.
        precision: What the factors of the matrix products are rounded to; sums, and all that is
            not a product of matrices, are float32 in each. ``"ieee"``: nothing (under
            ``torch.compile`` what torch is set to holds instead). ``"tf32"``: 10
            bits of mantissa. ``"tf32x3"``: three tf32 products, about as exact as float32.
            ``"bf16"``: 7 bits. ``"triton"`` has all of them, ``"chunked"`` all but ``"tf32x3"``,
            on a CPU ``"bf16"`` with AMX and else ``"ieee"`` alone. ``"naive"`` has ``"ieee"``
            alone, and takes what torch is set to for it.

    Returns:
        The mean over the anchors, a scalar. It is computed in float32 at least, under autocast
        too; only ``"naive"`` can be differentiated twice.

    Raises:
        ValueError: If shapes differ, there are no rows, or an argument is out of range.
        RuntimeError: If the backend or the precision asked for cannot run; the message says why.

    Examples:
        >>> view = torch.eye(4)
        >>> loss = info_nce(view, view, temperature=0.5)
        >>> bool(torch.isclose(loss, torch.tensor((math.exp(2) + 3) / math.exp(2)).log()))
        True
    """
    _check_views(view_a, view_b)
    temperature = _checked_temperature(temperature)
    detail = _detail(precision)
    inputs = (view_a, temperature, precision)
    name = CONTRAST_BACKENDS.choose(backend, view_a.device, *inputs, detail=detail)
    with torch.autocast(view_a.device.type, enabled=False):
        return CONTRAST_BACKENDS[name].info_nce(view_a, view_b, temperature, precision)


def info_nce_unavailable(
    view: Tensor,
    temperature: float | Tensor,
    backend: str = "auto",
    precision: Precision = "ieee",
) -> str | None:
    """Return why :func:`info_nce` cannot run on such views ``[N, d]``; ``None`` where it can.

    Args:
        view: A view of the type, width and device in question.
        temperature: The temperature.
        backend: The backend.
        precision: The precision of the products.

    Raises:
        ValueError: If there is no such backend or precision.
    """
    inputs = (view, temperature, precision)
    return CONTRAST_BACKENDS.unavailable(backend, view.device, *inputs, detail=_detail(precision))


def _check_views(view_a: Tensor, view_b: Tensor) -> None:
    if view_a.dim() != 2 or view_a.shape != view_b.shape:
        raise ValueError(
            f"'view_a' and 'view_b' need one shape [N, d] "
            f"(got {list(view_a.shape)} and {list(view_b.shape)})"
        )
    if view_a.device != view_b.device:
        raise ValueError(
            f"'view_a' and 'view_b' need to be on one device "
            f"(got {view_a.device} and {view_b.device})"
        )
    if view_a.size(0) == 0:
        raise ValueError("'view_a' needs at least one row (got none)")


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
