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
from mentor_pyg.ops.rows import nonzero_rows, sum_of_products, unit_rows
from mentor_pyg.ops.uniform import uniform_like

__all__ = [
    "BACKENDS",
    "Backend",
    "FusedLayer",
    "Noise",
    "add_noise",
    "choose_backend",
    "edge_dots",
    "nonzero_rows",
    "propagate",
    "propagate_layers",
    "rank_items",
    "recommend_items",
    "seen_items",
    "sum_of_products",
    "uniform_like",
    "unit_rows",
    "user_ids",
]
