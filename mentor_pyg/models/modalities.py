"""What models of item features share: the check that there are some, and graphs made of them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import knn_edge_type, num_items, presence
from mentor_pyg.data.schema import is_recorded
from mentor_pyg.graph import Adjacency, normalize_similarity, with_self_neighbours
from mentor_pyg.models.model import Model
from mentor_pyg.typing import EdgeType, Modality

__all__ = ["check_modalities", "item_edges", "similar_items", "similarity_adjacency"]


def check_modalities(model: Model) -> None:
    """Raise a ``ValueError`` if a model that needs item features was built for none."""
    if not model.sizes.channels:
        raise ValueError(
            f"{type(model).__name__} needs at least one modality; add features as "
            f"data['item'].x_<modality>, or train a model of interactions alone, such as LightGCN"
        )


def item_edges(data: HeteroData, kind: EdgeType) -> tuple[Tensor, Tensor]:
    """Return the edges of an item graph and their weights, which are ones if it has none."""
    edge_index, weight = data[kind].edge_index, data[kind].get("edge_weight")
    if weight is None:
        weight = torch.ones(edge_index.size(1), device=edge_index.device)
    return edge_index, weight


def similar_items(data: HeteroData, modality: Modality) -> tuple[Tensor, Tensor]:
    """Return the edges from neighbour to item and the similarities of a modality's item graph.

    Every item is its own first neighbour, in the place of the least similar one or, where there are
    no more than ``k`` items, beside all others; those that lack the modality have none. A graph of
    one's own is taken with the neighbours and similarities that it has, see :func:`item_edges`.

    Args:
        data: The dataset with its item graphs, see :class:`~mentor_pyg.transforms.ItemKNNGraph`.
        modality: The modality.
    """
    kind = knn_edge_type(modality)
    edge_index, similarity = item_edges(data, kind)
    if is_recorded(data, kind):
        present = presence(data, modality).nonzero().flatten()
        if present.numel() > data[kind].k:
            return with_self_neighbours(edge_index, similarity)
        edge_index = torch.cat([edge_index, present.expand(2, -1)], dim=1)
        similarity = torch.cat([similarity, similarity.new_ones(present.numel())])
    return edge_index, similarity


def similarity_adjacency(data: HeteroData, modality: Modality) -> Adjacency:
    r"""Return the graph of a modality's similar items.

    It is :math:`\mathbf{D}^{-1/2} \mathbf{S} \mathbf{D}^{-1/2}`, where :math:`\mathbf{S}`, which is
    not symmetrised, holds the cosines of every item and its :math:`k` most similar ones, itself
    among them, and :math:`\mathbf{D}` its row sums; for what it is made of see
    :func:`similar_items`.

    Args:
        data: The dataset with its item graphs, see :class:`~mentor_pyg.transforms.ItemKNNGraph`.
        modality: The modality.
    """
    items = num_items(data)
    edge_index, similarity = similar_items(data, modality)
    weight = normalize_similarity(edge_index, similarity, items)
    return Adjacency.from_edge_index(edge_index, weight, num_nodes=items)
