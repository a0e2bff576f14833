"""Edge weights that normalise an adjacency matrix."""

import torch
from torch import Tensor

from mentor_pyg.graph.edges import node_counts

__all__ = ["normalize_rows", "normalize_symmetric"]


def normalize_symmetric(edge_index: Tensor, num_nodes: int | tuple[int, int]) -> Tensor:
    r"""Return :math:`1 / \sqrt{d_s \, d_t}` for every edge from :math:`s` to :math:`t`.

    On a bipartite graph this is the off-diagonal block of
    :math:`\mathbf{D}^{-1/2} \mathbf{A} \mathbf{D}^{-1/2}` of the joint undirected graph; on a
    joint graph that holds both directions, the matrix itself.

    Args:
        edge_index: Edges ``[2, num_edges]``.
        num_nodes: The number of nodes, or of sources and targets in a bipartite graph.

    Returns:
        Weights ``[num_edges]`` in float32.
    """
    sources, targets = node_counts(num_nodes)
    # Every counted node has an edge, so no degree that is read below is zero.
    source_scale = torch.bincount(edge_index[0], minlength=sources).float().rsqrt()
    target_scale = torch.bincount(edge_index[1], minlength=targets).float().rsqrt()
    return source_scale[edge_index[0]] * target_scale[edge_index[1]]


def normalize_rows(edge_index: Tensor, num_targets: int, eps: float = 0.0) -> Tensor:
    r"""Return :math:`1 / (d_t + \epsilon)` for every edge into target :math:`t`.

    Args:
        edge_index: Edges ``[2, num_edges]``.
        num_targets: The number of target nodes.
        eps: Added to every target's number of edges.

    Returns:
        Weights ``[num_edges]`` in float32.
    """
    degree = torch.bincount(edge_index[1], minlength=num_targets).float() + eps
    return degree.reciprocal()[edge_index[1]]
