"""HeteroData -> HeteroData: splits, item nearest-neighbour graphs and their merge."""

from mentor_pyg.transforms.add_items import AddItems
from mentor_pyg.transforms.drop_features import DropFeatures
from mentor_pyg.transforms.fill_missing import FillMissing
from mentor_pyg.transforms.item_knn_graph import ItemKNNGraph
from mentor_pyg.transforms.join_splits import JoinSplits
from mentor_pyg.transforms.merge_item_graphs import MergeItemGraphs
from mentor_pyg.transforms.random_interaction_split import RandomInteractionSplit
from mentor_pyg.transforms.remove_modalities import RemoveModalities

__all__ = [
    "AddItems",
    "DropFeatures",
    "FillMissing",
    "ItemKNNGraph",
    "JoinSplits",
    "MergeItemGraphs",
    "RandomInteractionSplit",
    "RemoveModalities",
]
