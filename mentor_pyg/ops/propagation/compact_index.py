"""The indices of a matrix in 32 bits, which is what libraries and kernels count in."""

from typing import NamedTuple

import torch
from torch import Tensor

from mentor_pyg.graph import Adjacency

__all__ = ["CompactIndex", "compact_index", "fits_in_32_bits"]


class CompactIndex(NamedTuple):
    """Offsets of rows ``[num_targets + 1]`` and sources ``[num_edges]``."""

    rowptr: Tensor
    col: Tensor


def fits_in_32_bits(adjacency: Adjacency) -> bool:
    """Return whether every node and edge has a number in 32 bits."""
    return max(adjacency.num_edges, adjacency.num_sources, adjacency.num_targets) < 2**31


def compact_index(adjacency: Adjacency) -> CompactIndex:
    """Return the indices in 32 bits, or as they are where they do not fit; a layout."""
    dtype = torch.int32 if fits_in_32_bits(adjacency) else torch.int64
    return CompactIndex(adjacency.rowptr.to(dtype), adjacency.col.to(dtype))
