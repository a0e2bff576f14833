"""PyG's ``EdgeIndex.matmul`` on sorted edges with a filled cache."""

import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops.propagation.torch_csr import (  # The kernels behind are the same.
    hush_beta_notice,
    unavailable,
)

__all__ = ["product", "sorted_edges", "unavailable"]


def sorted_edges(adjacency: Adjacency) -> EdgeIndex:
    """Return the edges as PyG's, sorted by target; a layout."""
    hush_beta_notice()
    edges = EdgeIndex(
        torch.stack([adjacency.col, adjacency.target]),
        sparse_size=(adjacency.num_sources, adjacency.num_targets),
        sort_order="col",
    )
    return edges.fill_cache_(no_transpose=True)


def product(adjacency: Adjacency, x: Tensor) -> Tensor:
    """Equal ``sorted_edges(adjacency).matmul(x, adjacency.weight, transpose=True)`` per slab."""
    if x.dim() == 2:
        return _matmul(adjacency, x)
    slabs = [_matmul(adjacency, slab) for slab in x]
    return torch.stack(slabs) if slabs else x.new_empty(0, adjacency.num_targets, x.size(-1))


def _matmul(adjacency: Adjacency, x: Tensor) -> Tensor:
    out = adjacency.layout(sorted_edges).matmul(x, adjacency.weight, transpose=True)
    assert isinstance(out, Tensor)  # Sparse times dense is dense.
    return out
