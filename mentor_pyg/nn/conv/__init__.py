"""Message-passing layers for anyone's PyG model."""

from mentor_pyg.nn.conv.interaction import InteractionConv
from mentor_pyg.nn.conv.item_semantic import ItemSemanticConv
from mentor_pyg.nn.conv.weighted_sum import WeightedSumConv

__all__ = ["InteractionConv", "ItemSemanticConv", "WeightedSumConv"]
