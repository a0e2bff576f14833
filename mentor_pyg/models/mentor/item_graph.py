"""The item semantic graph."""

from __future__ import annotations

from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform, Compose

from mentor_pyg.data import SEMANTIC, knn_edge_type, modalities, num_items, resolve_modality_weights
from mentor_pyg.graph import Adjacency, merge_item_graphs, normalize_rows, with_self_neighbours
from mentor_pyg.models.mentor.config import MENTORConfig
from mentor_pyg.transforms import ItemKNNGraph, MergeItemGraphs
from mentor_pyg.typing import Modality

__all__ = ["item_graph_transform", "released_item_graph", "semantic_adjacency"]

_RELEASED_EPS = 1e-7
"""What the released code adds to the number of neighbours before it divides."""


def item_graph_transform(config: MENTORConfig) -> BaseTransform:
    """Return what puts the nearest-neighbour graphs and their merge into a dataset."""
    if not config.item_graph:
        return Compose([])
    return Compose([ItemKNNGraph(config.k), MergeItemGraphs(config.modality_weights)])


def semantic_adjacency(data: HeteroData, *, self_neighbours: bool = False) -> Adjacency:
    """Return the merged item graph ``[num_items, num_items]``.

    Args:
        data: The dataset with its item graphs.
        self_neighbours: Whether to take the graph of the released code, see
            :func:`released_item_graph`, in place of the merged graph of ``data``.
    """
    if self_neighbours:
        edge_index, edge_weight = released_item_graph(data)
    else:
        edge_index, edge_weight = data[SEMANTIC].edge_index, data[SEMANTIC].edge_weight
    return Adjacency.from_edge_index(edge_index, edge_weight, num_nodes=num_items(data))


def released_item_graph(data: HeteroData) -> tuple[Tensor, Tensor]:
    """Return the edges and weights of the merged item graph as the released code builds it.

    Every item is its own first neighbour, and rows are divided by ``k + 1e-7``.

    Args:
        data: The dataset with one nearest-neighbour graph per modality.

    Returns:
        The edges ``[2, num_edges]`` from neighbour to item and the weights ``[num_edges]``.
    """
    items = num_items(data)
    graphs, weights = {}, _merge_weights(data)
    for modality in weights:
        store = data[knn_edge_type(modality)]
        edge_index, _ = with_self_neighbours(store.edge_index, store.edge_weight)
        graphs[modality] = (edge_index, normalize_rows(edge_index, items, eps=_RELEASED_EPS))
    return merge_item_graphs(graphs, weights, items)


def _merge_weights(data: HeteroData) -> dict[Modality, float]:
    """Return the weight of every modality that has a graph; the defaults where none is stored."""
    found = [m for m in modalities(data) if knn_edge_type(m) in data.edge_types]
    stored = {m: data[knn_edge_type(m)].get("merge_weight") for m in found}
    return resolve_modality_weights(found, None if None in stored.values() else stored)
