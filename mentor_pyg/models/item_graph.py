"""The merged graph of all modalities' item graphs: how it is made, and what models read of it."""

from __future__ import annotations

from typing import Any

from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform, Compose

from mentor_pyg.data import SEMANTIC, knn_edge_type, modalities, num_items
from mentor_pyg.data.schema import is_recorded
from mentor_pyg.graph import Adjacency, merge_item_graphs, normalize_rows
from mentor_pyg.models.modalities import item_edges, similar_items
from mentor_pyg.transforms import ItemKNNGraph, MergeItemGraphs

__all__ = ["item_graph_transform", "merged_item_adjacency"]


def item_graph_transform(config: Any) -> BaseTransform:
    """Return what puts the nearest-neighbour graphs and their merge into a dataset.

    Args:
        config: Settings that have ``k`` and ``modality_weights``.
    """
    return Compose([ItemKNNGraph(config.k), MergeItemGraphs(config.modality_weights)])


def merged_item_adjacency(
    data: HeteroData, *, self_neighbours: bool = False, eps: float = 0.0
) -> Adjacency:
    """Return the merged item graph ``[num_items, num_items]``.

    A merged graph of one's own is taken as it is.

    Args:
        data: The dataset with its item graphs, see :class:`~mentor_pyg.transforms.MergeItemGraphs`.
        self_neighbours: Whether graphs are merged in which an item is its own first neighbour, see
            :func:`~mentor_pyg.models.modalities.similar_items`. Rows are divided by their number
            of neighbours before.
        eps: Added to that number.
    """
    items = num_items(data)
    edge_index, edge_weight = item_edges(data, SEMANTIC)
    if self_neighbours and is_recorded(data, SEMANTIC):
        graphs, weights = {}, {}
        for modality in modalities(data):
            if (kind := knn_edge_type(modality)) in data.edge_types:
                edges, _ = similar_items(data, modality)
                graphs[modality] = (edges, normalize_rows(edges, items, eps))
                weights[modality] = data[kind].merge_weight
        edge_index, edge_weight = merge_item_graphs(graphs, weights, items)
    return Adjacency.from_edge_index(edge_index, edge_weight, num_nodes=items)
