"""Dot products along edges, of gathered rows."""

import torch
from torch import Tensor

from mentor_pyg.graph import Adjacency

__all__ = ["gathered_edge_dots"]

_CHUNK_ELEMENTS = 2**20
"""Entries of gathered rows held at a time: near the cache, and little beside the rows."""


def gathered_edge_dots(adjacency: Adjacency, at_target: Tensor, at_source: Tensor) -> Tensor:
    """Return the dot product of the rows at the ends of every edge, summed over slabs.

    In float32 at least.
    """
    dtype = torch.promote_types(at_source.dtype, torch.float32)
    dots = at_source.new_empty(adjacency.num_edges, dtype=dtype)
    entries = at_source.numel() // max(1, adjacency.num_sources)  # Of one node, over all slabs.
    step = max(1, _CHUNK_ELEMENTS // max(1, entries))
    for start in range(0, adjacency.num_edges, step):
        chunk = slice(start, start + step)
        both = at_target[..., adjacency.target[chunk], :].to(dtype)
        both = both * at_source[..., adjacency.col[chunk], :]
        dots[chunk] = both.sum(dim=-1).view(-1, both.size(-2)).sum(dim=0)
    return dots
