"""Multimodal recommendation on PyTorch Geometric.

Training is in :mod:`mentor_pyg.training`, which needs the extra ``train``. What is named here is
imported when it is first used, so that the command need not wait for torch to say how it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mentor_pyg.version import __version__

if TYPE_CHECKING:
    from mentor_pyg.data import Representations, validate_data
    from mentor_pyg.datasets import InteractionFolder, SyntheticMultimodal
    from mentor_pyg.evaluation import full_ranking
    from mentor_pyg.export import EmbeddingTables
    from mentor_pyg.graph import Adjacency, knn_graph
    from mentor_pyg.losses import bpr_loss, info_nce
    from mentor_pyg.models import BPRMF, MENTOR, LightGCN, MENTORConfig
    from mentor_pyg.nn import InteractionConv, ItemSemanticConv
    from mentor_pyg.ops import propagate

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

_HOMES = ("data", "datasets", "evaluation", "export", "graph", "losses", "models", "nn", "ops")
_PARTS = (*_HOMES, "sampling", "training", "transforms")


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return importlib.import_module(f"{__name__}.{name}")
    for home in _HOMES if name in __all__ else ():
        module = importlib.import_module(f"{__name__}.{home}")
        if name in module.__all__:
            return globals().setdefault(name, getattr(module, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PARTS})
