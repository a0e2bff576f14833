"""Interactions -> the matrix that models propagate over."""

import torch
from torch import Tensor

from mentor_pyg.graph.adjacency import Adjacency

__all__ = ["interaction_adjacency"]


def interaction_adjacency(edge_index: Tensor, num_users: int, num_items: int) -> Adjacency:
    r"""Return :math:`\mathbf{D}^{-1/2} \mathbf{A} \mathbf{D}^{-1/2}` of users and items.

    Args:
        edge_index: Interactions ``[2, num_interactions]`` of (user, item).
        num_users: The number of users.
        num_items: The number of items.

    Returns:
        The symmetric matrix ``[num_users + num_items, num_users + num_items]``, users first.
    """
    nodes = num_users + num_items
    user, item = edge_index[0], edge_index[1] + num_users
    joint = torch.stack([torch.cat([user, item]), torch.cat([item, user])])
    return Adjacency.normalized(joint, num_nodes=nodes, is_symmetric=True)
