"""Tensors -> adjacency: normalisation, exact nearest neighbours, and the matrix itself."""

from mentor_pyg.graph.adjacency import Adjacency
from mentor_pyg.graph.build import (
    interaction_adjacency,
    merge_item_graphs,
    released_item_graph,
    semantic_adjacency,
)
from mentor_pyg.graph.item_lists import ItemLists
from mentor_pyg.graph.knn import knn_graph
from mentor_pyg.graph.normalize import normalize_rows, normalize_symmetric

__all__ = [
    "Adjacency",
    "ItemLists",
    "interaction_adjacency",
    "knn_graph",
    "merge_item_graphs",
    "normalize_rows",
    "normalize_symmetric",
    "released_item_graph",
    "semantic_adjacency",
]
