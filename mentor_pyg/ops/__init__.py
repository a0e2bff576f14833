"""adjacency @ dense and ranking: the hot operations, one file per backend."""

from mentor_pyg.ops.layers import propagate_layers
from mentor_pyg.ops.noise import Noise, add_noise
from mentor_pyg.ops.propagate import BACKENDS, Backend, FusedLayer, propagate
from mentor_pyg.ops.ranking import masked_topk, recommend_items
from mentor_pyg.ops.uniform import uniform_like

__all__ = [
    "BACKENDS",
    "Backend",
    "FusedLayer",
    "Noise",
    "add_noise",
    "masked_topk",
    "propagate",
    "propagate_layers",
    "recommend_items",
    "uniform_like",
]
