"""Tensors -> adjacency: normalisation, exact nearest neighbours, and the matrix itself."""

from mentor_pyg.graph.adjacency import Adjacency
from mentor_pyg.graph.interactions import interaction_adjacency
from mentor_pyg.graph.item_lists import ItemLists
from mentor_pyg.graph.knn import knn_graph, with_self_neighbours
from mentor_pyg.graph.merge import common_edges, merge_item_graphs, pool_item_graphs
from mentor_pyg.graph.normalize import normalize_rows, normalize_similarity, normalize_symmetric
from mentor_pyg.graph.pruning import Pruning, prune_interactions

__all__ = [
    "Adjacency",
    "ItemLists",
    "Pruning",
    "common_edges",
    "interaction_adjacency",
    "knn_graph",
    "merge_item_graphs",
    "normalize_rows",
    "normalize_similarity",
    "normalize_symmetric",
    "pool_item_graphs",
    "prune_interactions",
    "with_self_neighbours",
]
