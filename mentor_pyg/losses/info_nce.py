"""Exact InfoNCE over all pairs, in memory that grows with N d."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["INFO_NCE_BACKENDS", "InfoNCELoss", "info_nce"]

INFO_NCE_BACKENDS = ("chunked", "naive")

_CHUNK_ELEMENTS = {"cpu": 5 * 2**20, "cuda": 2**26}
"""Similarities held at a time: near the cache on the CPU, enough to fill a GPU there."""

_CHUNK_MULTIPLE = 64
"""Products of other numbers of anchors are slower; so many at least still are O(N d) memory."""

_MIN_UNSHIFTED_TEMPERATURE = 0.025
"""From here up, exp(cos / t) <= exp(40) is summed in float32 without a shift."""


def info_nce(view_a: Tensor, view_b: Tensor, temperature: float, backend: str = "auto") -> Tensor:
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
            :math:`6 N^2 d` operations. ``"auto"`` is ``"chunked"``.

    Returns:
        The mean over the anchors, a scalar. It is computed in float32 at least, under autocast
        too; ``"chunked"`` cannot be differentiated twice.

    Raises:
        ValueError: If shapes differ, there are no rows, or an argument is out of range.

    Examples:
        >>> view = torch.eye(4)
        >>> loss = info_nce(view, view, temperature=0.5)
        >>> bool(torch.isclose(loss, torch.tensor((math.exp(2) + 3) / math.exp(2)).log()))
        True
    """
    if view_a.dim() != 2 or view_a.shape != view_b.shape:
        raise ValueError(
            f"'view_a' and 'view_b' need one shape [N, d] "
            f"(got {list(view_a.shape)} and {list(view_b.shape)})"
        )
    if view_a.size(0) == 0:
        raise ValueError("'view_a' needs at least one row (got none)")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"'temperature' needs to be a positive number (got {temperature})")
    if backend not in ("auto", *INFO_NCE_BACKENDS):
        raise ValueError(
            f"'backend' needs to be 'auto' or one of {list(INFO_NCE_BACKENDS)} (got {backend!r})"
        )
    # Half precision overflows in the exponential and loses small terms in sums over N.
    dtype = torch.promote_types(view_a.dtype, torch.float32)
    with torch.autocast(view_a.device.type, enabled=False):
        a, b = F.normalize(view_a.to(dtype)), F.normalize(view_b.to(dtype))
        if backend == "naive":
            return F.cross_entropy(a @ b.t() / temperature, torch.arange(len(a), device=a.device))
        loss: Tensor = _ChunkedInfoNCE.apply(a, b, temperature)  # type: ignore[no-untyped-call]
    return loss


class _ChunkedInfoNCE(torch.autograd.Function):
    """InfoNCE of unit rows. Gradients are formed in the forward, while a chunk is at hand."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, temperature: float) -> Tensor:
        num_rows = a.size(0)
        needs_a, needs_b = ctx.needs_input_grad[:2]
        # At the positives: d loss / d a_i holds -b_i / (N t), and the other way round.
        grad_a = -b if needs_a else None
        grad_b = -a if needs_b else None
        elements = _CHUNK_ELEMENTS.get(a.device.type, _CHUNK_ELEMENTS["cpu"])
        rows = elements // num_rows // _CHUNK_MULTIPLE * _CHUNK_MULTIPLE
        rows = min(num_rows, max(_CHUNK_MULTIPLE, rows))
        buffer = a.new_empty(num_rows * rows)
        total = a.new_zeros((), dtype=torch.float64)
        for start in range(0, num_rows, rows):
            chunk = slice(start, min(start + rows, num_rows))
            scaled = a[chunk] / temperature
            # [N, rows]: on the CPU this product is 1.5 times as fast as its transpose.
            p = buffer[: num_rows * len(scaled)].view(num_rows, -1)
            torch.mm(b, scaled.t(), out=p)
            # A copy, since float64 similarities are overwritten below.
            positive = p.diagonal(offset=-start).to(torch.float64, copy=True)
            if temperature < _MIN_UNSHIFTED_TEMPERATURE:
                shift = p.amax(dim=0)
                p.sub_(shift)
                positive = positive - shift
            z = p.exp_().sum(dim=0)  # [rows]
            total += z.double().log().sum() - positive.sum()
            if grad_a is not None:
                grad_a[chunk].add_(torch.mm(p.t(), b).div_(z.unsqueeze(1)))
            if grad_b is not None:
                grad_b.addmm_(p, a[chunk] / z.unsqueeze(1))
        ctx.save_for_backward(grad_a, grad_b)
        ctx.scale = 1.0 / (num_rows * temperature)
        return (total / num_rows).to(a.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        if torch.is_grad_enabled():  # Saved gradients are constants: silently wrong from here on.
            raise RuntimeError(
                "the chunked InfoNCE cannot be differentiated twice (create_graph=True); "
                "use backend='naive'"
            )
        scale = grads[0] * ctx.scale
        grad_a, grad_b = ctx.saved_tensors
        return (
            None if grad_a is None else grad_a * scale,
            None if grad_b is None else grad_b * scale,
            None,
        )


class InfoNCELoss(nn.Module):
    """:func:`info_nce` as a module."""

    def __init__(self, temperature: float = 0.2, backend: str = "auto") -> None:
        super().__init__()
        self.temperature = temperature
        self.backend = backend

    def forward(self, view_a: Tensor, view_b: Tensor) -> Tensor:
        """Return the loss of two views ``[N, d]``."""
        return info_nce(view_a, view_b, self.temperature, self.backend)

    def extra_repr(self) -> str:
        """Return what ``repr`` shows."""
        return f"temperature={self.temperature:g}, backend={self.backend!r}"
