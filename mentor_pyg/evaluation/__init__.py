"""Full ranking of all items, in blocks, with PyG's metrics."""

from mentor_pyg.evaluation.ranking import METRICS, full_ranking, ranking_metrics

__all__ = ["METRICS", "full_ranking", "ranking_metrics"]
