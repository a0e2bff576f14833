"""Exact InfoNCE over all pairs, in memory that grows with N d."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mentor_pyg.dependencies import UnavailableError
from mentor_pyg.losses import info_nce_chunked, info_nce_triton
from mentor_pyg.typing import Precision

__all__ = ["INFO_NCE_BACKENDS", "InfoNCELoss", "info_nce", "info_nce_unavailable"]

logger = logging.getLogger(__name__)

_PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def _naive_unavailable(view: Tensor, temperature: float, precision: Precision) -> str | None:
    return None if precision == "ieee" else "it has no other than ieee"


def _naive(view_a: Tensor, view_b: Tensor, temperature: float, precision: Precision) -> Tensor:
    # Half precision overflows in the exponential and loses small terms in sums over N.
    dtype = torch.promote_types(view_a.dtype, torch.float32)
    a, b = F.normalize(view_a.to(dtype)), F.normalize(view_b.to(dtype))
    return F.cross_entropy(a @ b.t() / temperature, torch.arange(len(a), device=a.device))


class _Backend(NamedTuple):
    loss: Callable[[Tensor, Tensor, float, Precision], Tensor]
    unavailable: Callable[[Tensor, float, Precision], str | None]
    """Why the backend cannot run on such views; ``None`` where it can."""


_BACKENDS = {
    "triton": _Backend(info_nce_triton.loss, info_nce_triton.unavailable),
    "chunked": _Backend(info_nce_chunked.loss, info_nce_chunked.unavailable),
    "naive": _Backend(_naive, _naive_unavailable),
}

_AUTO = {"cuda": ("chunked", "triton")}
"""The backends that ``"auto"`` tries on a device, in this order; elsewhere ``"chunked"`` alone."""

INFO_NCE_BACKENDS = tuple(_BACKENDS)
"""The names of the backends."""


def info_nce(
    view_a: Tensor,
    view_b: Tensor,
    temperature: float,
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
        temperature: The temperature :math:`\tau`.
        backend: ``"naive"`` holds the ``N x N`` matrix. ``"chunked"`` takes rows a few at a time
            and forms the gradient on the way, so that it holds :math:`O(N d)` values and spends
            :math:`6 N^2 d` operations. ``"triton"`` streams over all pairs on a GPU and keeps
            none, in :math:`8 N^2 d` operations. ``"auto"`` is ``"chunked"``, and on CUDA
            ``"triton"`` for what that lacks. A backend asked for by name runs or raises.
        precision: What the factors of the matrix products are rounded to; sums, and all that is
            not a product of matrices, are float32 in each. ``"ieee"``: nothing (under
            ``torch.compile`` what torch is set to holds instead). ``"tf32"``: 10
            bits of mantissa. ``"tf32x3"``: three tf32 products, about as exact as float32.
            ``"bf16"``: 7 bits. ``"triton"`` has all of them, ``"chunked"`` all but ``"tf32x3"``;
            what a CPU cannot multiply it rounds in software, slower than ``"ieee"``, and warns
            once. ``"naive"`` has ``"ieee"`` alone, and takes what torch is set to for it.

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
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"'temperature' needs to be a positive number (got {temperature})")
    _check_names(backend, precision)
    backend = _choose_backend(view_a, temperature, backend, precision)
    with torch.autocast(view_a.device.type, enabled=False):
        return _BACKENDS[backend].loss(view_a, view_b, temperature, precision)


def info_nce_unavailable(
    view: Tensor, temperature: float, backend: str = "auto", precision: Precision = "ieee"
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
    _check_names(backend, precision)
    reasons = _reasons(view, temperature, backend, precision)
    return None if None in reasons.values() else _listed(reasons, precision)


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


def _check_names(backend: str, precision: Precision) -> None:
    if precision not in _PRECISIONS:
        raise ValueError(f"'precision' needs to be one of {list(_PRECISIONS)} (got {precision!r})")
    if backend not in ("auto", *_BACKENDS):
        raise ValueError(
            f"'backend' needs to be 'auto' or one of {list(INFO_NCE_BACKENDS)} (got {backend!r})"
        )


def _reasons(
    view: Tensor, temperature: float, backend: str, precision: Precision
) -> dict[str, str | None]:
    """Return why each backend that comes into question cannot run, in order of preference."""
    tried = _AUTO.get(view.device.type, ("chunked",)) if backend == "auto" else (backend,)
    return {name: _BACKENDS[name].unavailable(view, temperature, precision) for name in tried}


def _choose_backend(view: Tensor, temperature: float, backend: str, precision: Precision) -> str:
    """Return the name of the backend to run."""
    reasons = _reasons(view, temperature, backend, precision)
    for name, reason in reasons.items():
        if reason is None:
            if backend == "auto" and not torch.compiler.is_compiling():
                _log_choice(name, view.device.type, precision)
            return name
    raise UnavailableError(_listed(reasons, precision))


def _listed(reasons: Mapping[str, str | None], precision: Precision) -> str:
    return "; ".join(
        f"backend {name!r} cannot run with precision {precision!r}: {reason}"
        for name, reason in reasons.items()
    )


@cache
def _log_choice(backend: str, device: str, precision: str) -> None:
    logger.info(
        "info_nce(backend='auto', precision=%r) runs '%s' on %s", precision, backend, device
    )


class InfoNCELoss(nn.Module):
    """:func:`info_nce` as a module."""

    def __init__(
        self, temperature: float = 0.2, backend: str = "auto", precision: Precision = "ieee"
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.backend = backend
        self.precision: Precision = precision

    def forward(self, view_a: Tensor, view_b: Tensor) -> Tensor:
        """Return the loss of two views ``[N, d]``."""
        return info_nce(view_a, view_b, self.temperature, self.backend, self.precision)

    def extra_repr(self) -> str:
        """Return what ``repr`` shows."""
        return (
            f"temperature={self.temperature:g}, backend={self.backend!r}, "
            f"precision={self.precision!r}"
        )
