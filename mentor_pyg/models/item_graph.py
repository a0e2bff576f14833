"""The merged graph of all modalities' item graphs: how it is made, and what models read of it."""

from __future__ import annotations

from typing import Any

from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform, Compose

from mentor_pyg.data import (
    SEMANTIC,
    knn_edge_type,
    modalities,
    num_items,
    resolve_modality_weights,
)
from mentor_pyg.data.schema import is_recorded
from mentor_pyg.graph import Adjacency, merge_item_graphs, normalize_rows, with_self_neighbours
from mentor_pyg.transforms import ItemKNNGraph, MergeItemGraphs
from mentor_pyg.typing import Modality

__all__ = ["item_graph_transform", "merged_item_adjacency", "self_neighbour_adjacency"]


def item_graph_transform(config: Any) -> BaseTransform:
    """Return what puts the nearest-neighbour graphs and their merge into a dataset.

    Args:
        config: Settings that have ``k`` and ``modality_weights``.
    """
    return Compose([ItemKNNGraph(config.k), MergeItemGraphs(config.modality_weights)])


def merged_item_adjacency(data: HeteroData, *, self_neighbours: bool = False) -> Adjacency:
    """Return the merged item graph ``[num_items, num_items]``.

    Args:
        data: The dataset with its item graphs, see :class:`~mentor_pyg.transforms.MergeItemGraphs`.
        self_neighbours: Whether an item is its own first neighbour, see
            :func:`self_neighbour_adjacency`; a merged graph of one's own is taken as it is.
    """
    if self_neighbours and is_recorded(data, SEMANTIC):
        return self_neighbour_adjacency(data)
    merged = data[SEMANTIC]
    return Adjacency.from_edge_index(
        merged.edge_index, merged.edge_weight, num_nodes=num_items(data)
    )


def self_neighbour_adjacency(data: HeteroData, eps: float = 0.0) -> Adjacency:
    """Return what merging gives if items are neighbours of themselves ``[num_items, num_items]``.

    Every item is its own first neighbour, in the place of the least similar one, and rows are
    divided by their number of neighbours before they are merged.

    Args:
        data: The dataset with one nearest-neighbour graph per modality.
        eps: Added to the number of neighbours.
    """
    items = num_items(data)
    graphs, weights = {}, _merge_weights(data)
    for modality in weights:
        store = data[knn_edge_type(modality)]
        edge_index, _ = with_self_neighbours(store.edge_index, store.edge_weight)
        graphs[modality] = (edge_index, normalize_rows(edge_index, items, eps))
    edge_index, edge_weight = merge_item_graphs(graphs, weights, items)
    return Adjacency.from_edge_index(edge_index, edge_weight, num_nodes=items)


def _merge_weights(data: HeteroData) -> dict[Modality, float]:
    """Return the weight of every modality that has a graph; the defaults where none is stored."""
    found = [m for m in modalities(data) if knn_edge_type(m) in data.edge_types]
    stored = {m: data[knn_edge_type(m)].get("merge_weight") for m in found}
    return resolve_modality_weights(found, None if None in stored.values() else stored)
