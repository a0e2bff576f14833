"""Nearest neighbours of which every node is its own first."""

import torch
from torch import Tensor

__all__ = ["with_self_neighbours"]


def with_self_neighbours(edge_index: Tensor, similarity: Tensor) -> Tensor:
    """Replace every target's least similar neighbour by the target itself.

    That is the nearest-neighbour graph where a node counts among its own neighbours, being the
    most similar to itself. Nodes without neighbours stay without.

    Args:
        edge_index: Edges from neighbour to node ``[2, num_edges]``, none from a node to itself.
        similarity: The similarity along each ``[num_edges]``.

    Returns:
        The edges ``[2, num_edges]``.
    """
    perm = similarity.argsort(descending=True, stable=True)
    perm = perm[edge_index[1, perm].argsort(stable=True)]
    edge_index = edge_index[:, perm]  # Grouped by target, by falling similarity within.
    target = edge_index[1]
    is_last = torch.ones_like(target, dtype=torch.bool)
    is_last[:-1] = target[1:] != target[:-1]
    loops = target[is_last].expand(2, -1)
    return torch.cat([edge_index[:, ~is_last], loops], dim=1)
