"""adjacency @ dense and ranking: the hot operations, one file per backend."""

from mentor_pyg.ops.propagate import BACKENDS, Backend, propagate
from mentor_pyg.ops.ranking import masked_topk, recommend_items
from mentor_pyg.ops.uniform import uniform_like

__all__ = ["BACKENDS", "Backend", "masked_topk", "propagate", "recommend_items", "uniform_like"]
