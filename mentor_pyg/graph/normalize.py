"""Edge weights that normalise an adjacency matrix."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.graph.edges import node_counts

__all__ = ["normalize_rows", "normalize_similarity", "normalize_symmetric"]


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


def normalize_similarity(edge_index: Tensor, similarity: Tensor, num_nodes: int) -> Tensor:
    r"""Return :math:`s_{t,s} / \sqrt{d_s \, d_t}`, where :math:`d_t = \sum_s s_{t,s}`.

    It is :math:`\mathbf{D}^{-1/2} \mathbf{S} \mathbf{D}^{-1/2}` with the row sums on both sides, so
    that a directed graph, such as that of nearest neighbours, counts what comes in alone. From
    `"Mining Latent Structures for Multimedia Recommendation" <https://arxiv.org/abs/2104.09036>`_.
    Nodes whose similarities sum to nothing, or less, get and give zeros. Differentiable in the
    similarities.

    Args:
        edge_index: Edges ``[2, num_edges]`` from :math:`s` to :math:`t`.
        similarity: What every edge weighs ``[num_edges]``.
        num_nodes: The number of nodes.

    Returns:
        Weights ``[num_edges]``.
    """
    source, target = edge_index
    row_sum = similarity.new_zeros(num_nodes).index_add(0, target, similarity)
    positive = row_sum > 0
    scale = torch.where(positive, row_sum, 1.0).rsqrt() * positive
    # Not by indexing, whose backward adds up in any order where there are several threads.
    at_source, at_target = F.embedding(torch.stack([source, target]), scale[:, None])[..., 0]
    return similarity * at_source * at_target
