"""The item graph of models that count an item among its own neighbours."""

from __future__ import annotations

from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import knn_edge_type, modalities, num_items, resolve_modality_weights
from mentor_pyg.graph import merge_item_graphs, normalize_rows, with_self_neighbours
from mentor_pyg.typing import Modality

__all__ = ["self_neighbour_item_graph"]


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
