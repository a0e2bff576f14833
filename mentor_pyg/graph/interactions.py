"""Interactions -> the matrix that models propagate over."""

import torch
from torch import Tensor

from mentor_pyg.graph.adjacency import Adjacency
from mentor_pyg.graph.normalize import normalize_similarity

__all__ = ["interaction_adjacency", "joint_edges"]


def joint_edges(edge_index: Tensor, num_users: int) -> Tensor:
    """Return interactions in both directions, items numbered after users.

    Args:
        edge_index: Interactions ``[2, num_interactions]`` of (user, item).
        num_users: The number of users.

    Returns:
        The edges ``[2, 2 * num_interactions]``: those from users to items, then those back.
    """
    user, item = edge_index[0], edge_index[1] + num_users
    return torch.stack([torch.cat([user, item]), torch.cat([item, user])])


def interaction_adjacency(
    edge_index: Tensor, num_users: int, num_items: int, item_edges: Tensor | None = None
) -> Adjacency:
    r"""Return :math:`\mathbf{D}^{-1/2} \mathbf{A} \mathbf{D}^{-1/2}` of users and items.

    :math:`\mathbf{D}` are row sums, what comes in.

    Args:
        edge_index: Interactions ``[2, num_interactions]`` of (user, item).
        num_users: The number of users.
        num_items: The number of items.
        item_edges: Edges between items ``[2, num_item_edges]`` beside the interactions, from
            source to target.

    Returns:
        The matrix ``[num_users + num_items, num_users + num_items]``, users first. It is symmetric
        unless there are edges between items.
    """
    nodes = num_users + num_items
    joint = joint_edges(edge_index, num_users)
    if item_edges is None:
        return Adjacency.normalized(joint, num_nodes=nodes, is_symmetric=True)
    joint = torch.cat([joint, item_edges + num_users], dim=1)
    weight = normalize_similarity(joint, torch.ones(joint.size(1), device=joint.device), nodes)
    return Adjacency.from_edge_index(joint, weight, num_nodes=nodes)
