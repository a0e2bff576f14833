"""Multimodal recommendation on PyTorch Geometric.

Training is in :mod:`mentor_pyg.training`, which needs the extra ``train``.
"""

from mentor_pyg.data import Representations, validate_data
from mentor_pyg.datasets import InteractionFolder, SyntheticMultimodal
from mentor_pyg.evaluation import full_ranking
from mentor_pyg.export import EmbeddingTables
from mentor_pyg.graph import Adjacency, knn_graph
from mentor_pyg.losses import bpr_loss, info_nce
from mentor_pyg.models import BPRMF, MENTOR, LightGCN, MENTORConfig
from mentor_pyg.nn import InteractionConv, ItemSemanticConv
from mentor_pyg.ops import propagate
from mentor_pyg.version import __version__

__all__ = [
    "BPRMF",
    "MENTOR",
    "Adjacency",
    "EmbeddingTables",
    "InteractionConv",
    "InteractionFolder",
    "ItemSemanticConv",
    "LightGCN",
    "MENTORConfig",
    "Representations",
    "SyntheticMultimodal",
    "__version__",
    "bpr_loss",
    "full_ranking",
    "info_nce",
    "knn_graph",
    "propagate",
    "validate_data",
]
