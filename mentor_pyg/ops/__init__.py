"""The hot operations, a folder for each that has several backends."""

from mentor_pyg.ops.propagation import (
    BACKENDS,
    Backend,
    FusedLayer,
    Noise,
    add_noise,
    choose_backend,
    edge_dots,
    propagate,
    propagate_layers,
)
from mentor_pyg.ops.ranking import rank_items, recommend_items, seen_items, user_ids
from mentor_pyg.ops.uniform import uniform_like
from mentor_pyg.ops.rows import unit_rows

__all__ = [
    "BACKENDS",
    "Backend",
    "FusedLayer",
    "Noise",
    "add_noise",
    "choose_backend",
    "edge_dots",
    "propagate",
    "propagate_layers",
    "rank_items",
    "recommend_items",
    "seen_items",
    "uniform_like",
    "unit_rows",
    "user_ids",
]
