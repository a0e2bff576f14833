"""The item graph of models that count an item among its own neighbours."""

from __future__ import annotations

from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import (
    SEMANTIC,
    knn_edge_type,
    modalities,
    num_items,
    resolve_modality_weights,
)
from mentor_pyg.data.schema import is_recorded
from mentor_pyg.graph import Adjacency, merge_item_graphs, normalize_rows, with_self_neighbours
from mentor_pyg.typing import Modality

__all__ = ["merged_item_adjacency", "self_neighbour_item_graph"]


def merged_item_adjacency(data: HeteroData) -> Adjacency:
    """Return the merged item graph, see :func:`self_neighbour_item_graph`.

    A merged graph of one's own is taken as it is.

    Args:
        data: The dataset with its item graphs, see :class:`~mentor_pyg.transforms.MergeItemGraphs`.
    """
    if is_recorded(data, SEMANTIC):
        edge_index, edge_weight = self_neighbour_item_graph(data)
    else:
        edge_index, edge_weight = data[SEMANTIC].edge_index, data[SEMANTIC].edge_weight
    return Adjacency.from_edge_index(edge_index, edge_weight, num_nodes=num_items(data))


def self_neighbour_item_graph(data: HeteroData, eps: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return the edges and weights of the merged item graph with self-edges.

    Every item is its own first neighbour, in the place of the least similar one, and rows are
    divided by their number of neighbours before they are merged.

    Args:
        data: The dataset with one nearest-neighbour graph per modality.
        eps: Added to the number of neighbours.

    Returns:
        The edges ``[2, num_edges]`` from neighbour to item and the weights ``[num_edges]``.
    """
    items = num_items(data)
    graphs, weights = {}, _merge_weights(data)
    for modality in weights:
        store = data[knn_edge_type(modality)]
        edge_index, _ = with_self_neighbours(store.edge_index, store.edge_weight)
        graphs[modality] = (edge_index, normalize_rows(edge_index, items, eps))
    return merge_item_graphs(graphs, weights, items)


def _merge_weights(data: HeteroData) -> dict[Modality, float]:
    """Return the weight of every modality that has a graph; the defaults where none is stored."""
    found = [m for m in modalities(data) if knn_edge_type(m) in data.edge_types]
    stored = {m: data[knn_edge_type(m)].get("merge_weight") for m in found}
    return resolve_modality_weights(found, None if None in stored.values() else stored)
