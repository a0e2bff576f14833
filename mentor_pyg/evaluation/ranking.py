"""Full ranking: every item for every user, in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.metrics import (
    LinkPredMAP,
    LinkPredMetricCollection,
    LinkPredNDCG,
    LinkPredPrecision,
    LinkPredRecall,
)

from mentor_pyg.data import INTERACTS, Representations, edge_label_index, num_items, num_users
from mentor_pyg.graph import ItemLists
from mentor_pyg.ops import masked_topk
from mentor_pyg.typing import Split

__all__ = ["METRICS", "full_ranking", "ranking_metrics"]

METRICS = {
    "recall": LinkPredRecall,
    "ndcg": LinkPredNDCG,
    "precision": LinkPredPrecision,
    "map": LinkPredMAP,
}
"""The metrics by the first half of their key, *e.g.* ``"recall@20"``."""


@torch.no_grad()
def full_ranking(
    reps: Representations,
    data: HeteroData,
    split: Split = "test",
    k: Sequence[int] | int = (10, 20),
    *,
    metrics: Sequence[str] = tuple(METRICS),
    keep_cold_users: bool = False,
    batch_size: int = 1024,
) -> dict[str, float]:
    """Rank all items for all users of a split and average the metrics over users.

    Items that a user interacted with in training are left out of the user's ranking; those of
    other splits are not, as in the field's published results.

    Args:
        reps: Fresh representations, ``model.encode(data)``.
        data: The dataset.
        split: ``"val"`` or ``"test"``.
        k: The lengths of ranking to measure.
        metrics: Names among :data:`METRICS`.
        keep_cold_users: Whether to count users without train interactions, whom a model knows
            nothing about. Published results leave them out, as this does by default.
        batch_size: Users ranked at a time.

    Returns:
        The averages under keys such as ``"recall@20"``.

    Raises:
        ValueError: If an argument is out of range or no user is left to rank.
    """
    if split not in ("val", "test"):
        raise ValueError(f"'split' needs to be 'val' or 'test' (got {split!r})")
    if batch_size < 1:
        raise ValueError(f"'batch_size' needs to be at least 1 (got {batch_size})")
    if isinstance(k, int):
        k = (k,)
    items = num_items(data)
    if not k or not all(isinstance(n, int) and 0 < n <= items for n in k):
        raise ValueError(
            f"'k' needs positive integers up to the number of items, {items} (got {tuple(k)})"
        )
    _check_fits(reps, data)
    seen = ItemLists.from_edge_index(data[INTERACTS].edge_index, num_users(data))
    labels = ItemLists.from_edge_index(edge_label_index(data, split), num_users(data))
    wanted = labels.count > 0
    if not keep_cold_users:
        wanted &= seen.count > 0
    users = wanted.nonzero()[:, 0]
    if users.numel() == 0:
        raise ValueError(f"no user of the {split} split is left to rank")

    with _double_precision():
        collection = _collection(k, metrics).to(users.device)
        item = reps.item["fused"]
        buffer = item.new_empty(min(batch_size, users.numel()), items)
        for batch in users.split(batch_size):
            user = reps.user["fused"][batch]
            _, ranked = masked_topk(user, item, max(k), seen.of(batch), buffer=buffer)
            collection.update(ranked, torch.stack(labels.of(batch)))
        return {key: float(value) for key, value in collection.compute().items()}


def ranking_metrics(
    ranked: Tensor, labels: Tensor, k: Sequence[int], metrics: Sequence[str] = tuple(METRICS)
) -> dict[str, float]:
    """Return metrics of rankings that are already made.

    Args:
        ranked: Item ids, best first ``[num_users, at least max(k)]``.
        labels: Relevant items ``[2, num_labels]`` of (row of ``ranked``, item). Rows without
            labels do not count.
        k: The lengths of ranking to measure.
        metrics: Names among :data:`METRICS`.

    Returns:
        The averages under keys such as ``"recall@20"``.
    """
    if max(k) > ranked.size(1):
        raise ValueError(f"'ranked' holds {ranked.size(1)} items per user, but 'k' asks {max(k)}")
    with _double_precision():
        collection = _collection(k, metrics).to(ranked.device)
        collection.update(ranked, labels)
        return {key: float(value) for key, value in collection.compute().items()}


def _collection(k: Sequence[int], metrics: Sequence[str]) -> LinkPredMetricCollection:
    if isinstance(metrics, str) or not metrics:
        raise ValueError(f"'metrics' needs a sequence of names (got {metrics!r})")
    if unknown := sorted(set(metrics).difference(METRICS)):
        raise ValueError(f"'metrics' needs names among {list(METRICS)} (got {unknown})")
    return LinkPredMetricCollection({f"{m}@{n}": METRICS[m](k=n) for m in metrics for n in k})


def _check_fits(reps: Representations, data: HeteroData) -> None:
    if "fused" not in reps.views:
        raise ValueError(f"'reps' needs the view 'fused', which ranks (got {list(reps.views)})")
    got = (reps.user["fused"].size(0), reps.item["fused"].size(0))
    if got != (num_users(data), num_items(data)):
        raise ValueError(
            f"'reps' is of {got[0]} users and {got[1]} items, but 'data' has {num_users(data)} "
            f"and {num_items(data)}"
        )
    for nodes in (reps.user["fused"], reps.item["fused"]):
        if not bool(nodes.isfinite().all()):
            raise ValueError(
                "'reps' holds infinite or NaN values, which cannot be ranked; the parameters "
                "they come from are spoilt, so train with a lower learning rate"
            )


@contextmanager
def _double_precision() -> Iterator[None]:
    """PyG's metrics count in the default dtype; in float32 the averages are off by 1e-8."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
