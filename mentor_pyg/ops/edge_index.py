"""PyG's ``EdgeIndex.matmul`` on sorted edges with a filled cache."""

import torch
from torch import Tensor

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops.constant_matrix import differentiable
from mentor_pyg.ops.torch_csr import unavailable  # The kernels behind both are the same.

__all__ = ["propagate", "unavailable"]


def propagate(adjacency: Adjacency, x: Tensor) -> Tensor:
    """Equal ``adjacency.edge_index.matmul(x, adjacency.weight, transpose=True)`` per slab.

    Backward is another such product: PyG's own (2.8) fails on bipartite graphs.
    """
    return differentiable(_product, adjacency, x)


def _product(adjacency: Adjacency, x: Tensor) -> Tensor:
    if x.dim() == 2:
        return _matmul(adjacency, x)
    return torch.stack([_matmul(adjacency, slab) for slab in x])


def _matmul(adjacency: Adjacency, x: Tensor) -> Tensor:
    out = adjacency.edge_index.matmul(x, adjacency.weight, transpose=True)
    assert isinstance(out, Tensor)  # Sparse times dense is dense.
    return out
