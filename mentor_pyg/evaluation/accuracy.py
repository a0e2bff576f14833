"""Metrics of single users' lists against what they wanted, by PyG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch_geometric.metrics import (
    LinkPredMAP,
    LinkPredMetricCollection,
    LinkPredNDCG,
    LinkPredPrecision,
    LinkPredRecall,
)
from torch_geometric.metrics.link_pred import LinkPredMetricData

__all__ = ["METRICS", "UserMeans", "UserValues", "check_metrics"]

METRICS = {
    "recall": LinkPredRecall,
    "ndcg": LinkPredNDCG,
    "precision": LinkPredPrecision,
    "map": LinkPredMAP,
}
"""The metrics that each user has a value of, by the first half of their key, *e.g.*
``"recall@20"``; what is reported is the mean over users."""


class UserMeans:
    """Means over users, summed in double precision block by block.

    Args:
        k: The lengths of ranking.
        metrics: Names among :data:`METRICS`; if there is none, nothing is computed.
        device: Where the rankings are.
    """

    def __init__(self, k: Sequence[int], metrics: Sequence[str], device: torch.device) -> None:
        self._collection: LinkPredMetricCollection | None = None
        with _double_precision():
            if found := _metrics_of(k, metrics):
                self._collection = LinkPredMetricCollection(found).to(device)

    def update(self, ranked: Tensor, labels: Tensor) -> None:
        """Add users: items ``[num_users, k]`` and labels ``[2, num_labels]`` of (row, item)."""
        if self._collection is not None:
            with _double_precision():
                self._collection.update(ranked, labels)

    def compute(self) -> dict[str, float]:
        """Return the means; users without labels do not count."""
        if self._collection is None:
            return {}
        return {key: float(value) for key, value in self._collection.compute().items()}


class UserValues:
    """Keeps what :class:`UserMeans` takes the means of.

    Args:
        k: The lengths of ranking.
        metrics: Names among :data:`METRICS`; if there is none, nothing is kept.
    """

    def __init__(self, k: Sequence[int], metrics: Sequence[str]) -> None:
        self._k, self._metrics = k, metrics
        self._parts: list[dict[str, Tensor]] = []

    def update(self, user: Tensor, ranked: Tensor, labels: Tensor) -> None:
        """Add users ``[num_users]``, with items and labels as :class:`UserMeans` takes them."""
        if not self._metrics:
            return
        # A metric's `update` keeps only sums; what it sums is in the method that subclasses define.
        with _double_precision():
            shared = LinkPredMetricData(ranked, labels)
            found = _metrics_of(self._k, self._metrics)
            values = {key: one.to(ranked.device)._compute(shared) for key, one in found.items()}
        self._parts.append({"user": user, **values})

    def compute(self) -> dict[str, Tensor]:
        """Return the users under ``"user"``, and their values in float64 ``[num_users]`` each."""
        keys = self._parts[0] if self._parts else ()
        return {key: torch.cat([part[key] for part in self._parts]) for key in keys}


def check_metrics(metrics: Sequence[str], known: Sequence[str]) -> None:
    """Refuse what is no sequence of known names.

    Raises:
        ValueError: In that case.
    """
    if isinstance(metrics, str) or not metrics:
        raise ValueError(f"'metrics' needs a sequence of names (got {metrics!r})")
    if unknown := sorted(set(metrics).difference(known)):
        raise ValueError(f"'metrics' needs names among {list(known)} (got {unknown})")


def _metrics_of(k: Sequence[int], metrics: Sequence[str]) -> dict[str, Any]:
    return {f"{metric}@{length}": METRICS[metric](k=length) for metric in metrics for length in k}


@contextmanager
def _double_precision() -> Iterator[None]:
    """PyG's metrics count in the default dtype; in float32 the averages are off by 1e-8."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
