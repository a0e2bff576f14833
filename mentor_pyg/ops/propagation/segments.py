"""Rows of a sparse matrix cut into pieces of bounded length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["MAX_SEGMENT_EDGES", "RowSegments", "split_rows"]

MAX_SEGMENT_EDGES = 128
"""Long enough for partial sums to cost little, short enough for no row to outlast the others."""


@dataclass(frozen=True, eq=False)
class RowSegments:
    """Which edges of a row are summed by whom, where rows are too uneven for one worker each.

    Args:
        table: The row, the first edge, the end and the slot of every segment ``[num_segments,
            4]`` in int32, the longest first, so that no long one is left to the end. A segment
            that is a whole row (possibly an empty one) has slot -1; the others have one slot
            each for their partial sum, ascending along the row.
        split_row: The rows of several segments, ascending ``[num_split]``, in int32.
        split_ptr: Offsets of each such row's slots ``[num_split + 1]``, in int32.
        num_slots: The number of slots.
    """

    table: Tensor
    split_row: Tensor
    split_ptr: Tensor
    num_slots: int


def split_rows(rowptr: Tensor, max_edges: int = MAX_SEGMENT_EDGES) -> RowSegments:
    """Cut rows into segments of at most ``max_edges`` edges.

    Args:
        rowptr: Offsets of each row's edges ``[num_rows + 1]``, below :math:`2^{31}`.
        max_edges: The most edges of a segment.

    Raises:
        ValueError: If ``max_edges`` is not positive.
    """
    if max_edges < 1:
        raise ValueError(f"'max_edges' needs to be a positive number of edges (got {max_edges})")
    rowptr = rowptr.long()
    count = ((rowptr.diff() + max_edges - 1) // max_edges).clamp(min=1)  # Empty rows: one too.
    row = torch.arange(count.numel(), device=rowptr.device).repeat_interleave(count)
    rank = torch.arange(row.numel(), device=rowptr.device) - (count.cumsum(0) - count)[row]
    begin = rowptr[row] + rank * max_edges
    end = torch.minimum(begin + max_edges, rowptr[row + 1])
    is_part = (count > 1)[row]
    slot = torch.where(is_part, is_part.cumsum(0) - 1, -1)
    longest_first = torch.argsort(end - begin, descending=True, stable=True)
    split_row = (count > 1).nonzero().flatten()
    split_ptr = torch.cat([count.new_zeros(1), count[split_row].cumsum(0)])
    return RowSegments(
        torch.stack([row, begin, end, slot], dim=1)[longest_first].int(),
        split_row.int(),
        split_ptr.int(),
        num_slots=int(split_ptr[-1]),
    )
