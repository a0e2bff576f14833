"""Users beside those who interacted with the same items."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import Inputs, edge_label_index
from mentor_pyg.graph import Adjacency
from mentor_pyg.models.fitted.sparse import interaction_matrix, top_products
from mentor_pyg.ops import propagate

__all__ = ["UserAggregation", "aggregation", "co_occurrence", "drawn_multiplicity"]

UserAggregation: TypeAlias = Literal["softmax", "mean"]
"""``"softmax"``: of the numbers of items in common. ``"mean"``: all neighbours alike."""


def co_occurrence(data: HeteroData, k: int) -> Adjacency:
    """Return every user's ``k`` neighbours of the most items in common, weighed by their number.

    Of equal neighbours those of the lowest ids are taken. Users without items in common with
    anybody have no edges. A sparse product is formed a block of users at a time, by SciPy, which
    the extra ``train`` brings.

    Args:
        data: The dataset, of whose train interactions it is made.
        k: The number of neighbours that a user has at most.
    """
    matrix = interaction_matrix(Inputs.from_data(data))
    found = top_products(matrix, matrix.T.tocsr(), k).tocoo()
    device, users = edge_label_index(data, "train").device, matrix.shape[0]
    edge_index = np.stack([found.col, found.row]).astype(np.int64)
    weight = torch.from_numpy(found.data.astype(np.float32)).to(device)
    return Adjacency.from_edge_index(
        torch.from_numpy(edge_index).to(device), weight, num_nodes=users
    )


def aggregation(
    graph: Adjacency, by: UserAggregation, multiplicity: Tensor | None = None
) -> Adjacency:
    r"""Return the matrix that sums over neighbours by weights that sum to one.

    :math:`\mathbf{S}_{uv} = c_{uv} w_{uv} / \sum_{v'} c_{uv'} w_{uv'}` with :math:`w = \exp(n)` of
    the numbers :math:`n` of items in common, or 1.

    Args:
        graph: What :func:`co_occurrence` gave.
        by: What neighbours are weighed by.
        multiplicity: How often every neighbour counts ``[num_edges]``; once if not given.
    """
    target, weight = graph.target, torch.ones_like(graph.weight)
    if by == "softmax":
        greatest = weight.new_zeros(graph.num_targets)
        greatest = greatest.scatter_reduce(0, target, graph.weight, "amax")
        weight = (graph.weight - greatest[target]).exp()
    if multiplicity is not None:
        weight = weight * multiplicity
    total = propagate(graph.with_weight(weight), weight.new_ones(graph.num_sources, 1))
    return graph.with_weight(weight / total.squeeze(1)[target])


def drawn_multiplicity(graph: Adjacency, k: int, generator: torch.Generator) -> Tensor:
    """Return how often every neighbour counts where ``k`` are drawn for each user.

    Each neighbour of a user is drawn once, and then again, one after the other, with a
    probability in proportion to how often it was drawn so far, up to ``k`` draws. Then all ways
    to write ``k`` as a sum of a user's multiplicities are equally likely, so that they are drawn
    at once: as the distances between cuts of a row of ``k`` places.

    Args:
        graph: What :func:`co_occurrence` gave.
        k: The number of draws; as many as a user has neighbours or more.
        generator: Where random numbers come from.

    Returns:
        Whole numbers of 1 and more ``[num_edges]``, which sum to ``k`` for every user with edges.
    """
    counts, device = graph.rowptr.diff(), graph.device
    places = torch.rand(len(counts), k - 1, generator=generator, device=device)
    rank = places.argsort(dim=1).argsort(dim=1)
    cuts = rank < (counts - 1).unsqueeze(1)
    part = torch.cat([counts.new_zeros(len(counts), 1), cuts.long().cumsum(dim=1)], dim=1)
    edge = (part + graph.rowptr[:-1].unsqueeze(1))[counts > 0]
    return torch.bincount(edge.flatten(), minlength=graph.num_edges)
