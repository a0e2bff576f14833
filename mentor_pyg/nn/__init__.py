"""Layers, encoders, fusion and self-supervised heads."""

from mentor_pyg.nn.behaviour_aware_fusion import BehaviourAwareFusion
from mentor_pyg.nn.conv import InteractionConv, ItemSemanticConv
from mentor_pyg.nn.cross_modal_attention import CrossModalAttention
from mentor_pyg.nn.encoders import ModalityEncoder, encode_together
from mentor_pyg.nn.fusion import ModalityFusion
from mentor_pyg.nn.heads import (
    AlignmentLevel,
    CrossModalAlignment,
    FeatureMasking,
    GraphPerturbation,
)
from mentor_pyg.nn.missing_features import MissingFeatures
from mentor_pyg.nn.modality_projection import ModalityProjection
from mentor_pyg.nn.propagation import LayeredPropagation
from mentor_pyg.nn.purified_views import PurifiedViews
from mentor_pyg.nn.refined_propagation import RefinedPropagation
from mentor_pyg.nn.relation_critic import RelationCritic

__all__ = [
    "AlignmentLevel",
    "BehaviourAwareFusion",
    "CrossModalAlignment",
    "CrossModalAttention",
    "FeatureMasking",
    "GraphPerturbation",
    "InteractionConv",
    "ItemSemanticConv",
    "LayeredPropagation",
    "MissingFeatures",
    "ModalityEncoder",
    "ModalityFusion",
    "ModalityProjection",
    "PurifiedViews",
    "RefinedPropagation",
    "RelationCritic",
    "encode_together",
]
