"""A softmax over a table whose gradients are formed in the forward, on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self, TypeAlias

import torch
from torch import Tensor

__all__ = ["Stream", "Targets", "streamed_cross_entropy"]

_MIN_UNSHIFTED_TEMPERATURE = 0.025
"""From here up, exp(cos / t) <= exp(40) is summed in float32 without a shift."""


class Targets(NamedTuple):
    """Pairs of a query and the row that it is to find, in the order of the queries."""

    query: Tensor  # [P]
    row: Tensor  # [P]
    counts: Tensor | None
    """How many each query has ``[B]``; ``None`` where each has one."""
    left_out: Tensor | None
    """The row that the softmax of each query is without ``[B]``; ``None`` where it has all."""

    @classmethod
    def of(cls, query: Tensor, target: Tensor, row: Tensor | None, left_out: Tensor | None) -> Self:
        """Sort the pairs, unless pair ``i`` is of query ``i``."""
        if row is None:
            return cls(torch.arange(len(query), device=query.device), target, None, left_out)
        row, order = row.sort(stable=True)
        counts = row.bincount(minlength=len(query)).to(query.dtype)
        return cls(row, target[order], counts, left_out)

    def bounds(self, chunks: Sequence[slice]) -> list[int]:
        """Return where every chunk's pairs start, and where the last one's end."""
        starts = [chunk.start for chunk in chunks]
        if self.counts is not None:
            starts = torch.searchsorted(self.query, self.query.new_tensor(starts)).tolist()
        return [*starts, len(self.query)]


Stream: TypeAlias = Callable[
    [Tensor, Tensor, Targets, float, Tensor | None, Tensor | None, bool], Tensor
]
"""``(query, table, targets, temperature, grad_query, grad_table, shifted) -> total``.

Adds the softmax's part to ``temperature`` times the gradients of ``total``, the sum of the losses
of all targets, in float64. A gradient that is ``None`` is not wanted. ``shifted`` says that
exponentials of scores may be too large for float32, or all too small. The gradients hold the
targets' part already, unless the stream adds that too (``adds_targets``).
"""


def streamed_cross_entropy(
    stream: Stream,
    query: Tensor,
    table: Tensor,
    target: Tensor,
    row: Tensor | None,
    left_out: Tensor | None,
    temperature: float,
    unit_rows: bool,
    *,
    adds_targets: bool = False,
) -> Tensor:
    """Return the loss, see :class:`~mentor_pyg.ops.contrast.ContrastBackend`."""
    shifted = not unit_rows or temperature < _MIN_UNSHIFTED_TEMPERATURE
    # Inside a function's forward the grad mode is always off.
    options = (temperature, stream, shifted, adds_targets, torch.is_grad_enabled())
    value: Tensor = _StreamedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        query, table, target, row, left_out, *options
    )
    return value


class _StreamedCrossEntropy(torch.autograd.Function):
    """Gradients are formed in the forward, while a chunk is at hand."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        table: Tensor,
        target: Tensor,
        row: Tensor | None,
        left_out: Tensor | None,
        temperature: float,
        stream: Stream,
        shifted: bool,
        adds_targets: bool,
        wanted: bool,
    ) -> Tensor:
        needs_query, needs_table = (wanted and needs for needs in ctx.needs_input_grad[:2])
        targets = Targets.of(query, target, row, left_out)
        # At the targets: d loss / d query_i holds -table_j / (P t), and the other way round.
        grad_query = grad_table = None
        if needs_query:
            grad_query = torch.zeros_like(query)
            if not adds_targets:
                grad_query.index_add_(0, targets.query, table[targets.row], alpha=-1)
        if needs_table:
            grad_table = torch.zeros_like(table)
            if not adds_targets:
                grad_table.index_add_(0, targets.row, query[targets.query], alpha=-1)
        total = stream(query, table, targets, temperature, grad_query, grad_table, shifted)
        ctx.save_for_backward(grad_query, grad_table)
        ctx.scale = 1.0 / (len(target) * temperature)
        return (total / len(target)).to(query.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # Saved gradients are constants: silently wrong from here on.
            raise RuntimeError(
                "the streamed softmax cannot be differentiated twice (create_graph=True); "
                "use backend='naive'"
            )
        scale = grads[0] * ctx.scale
        scaled = (None if grad is None else grad * scale for grad in ctx.saved_tensors)
        return (*scaled, *[None] * 8)
