"""Full ranking of all items, in blocks: metrics by PyG, of all lists together, and by group."""

from mentor_pyg.evaluation.accuracy import METRICS
from mentor_pyg.evaluation.cold_start import AmongItems, hold_out_items
from mentor_pyg.evaluation.groups import (
    cold_items,
    interactions_by_popularity,
    items_by_popularity,
    recall_by_item_group,
    users_by_activity,
)
from mentor_pyg.evaluation.lists import (
    LIST_METRICS,
    average_popularity,
    coverage,
    gini,
    novelty,
)
from mentor_pyg.evaluation.ranking import full_ranking, per_user_metrics, ranking_metrics

__all__ = [
    "LIST_METRICS",
    "METRICS",
    "AmongItems",
    "average_popularity",
    "cold_items",
    "coverage",
    "full_ranking",
    "gini",
    "hold_out_items",
    "interactions_by_popularity",
    "items_by_popularity",
    "novelty",
    "per_user_metrics",
    "ranking_metrics",
    "recall_by_item_group",
    "users_by_activity",
]
