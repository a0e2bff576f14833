"""Full ranking: every item for every user, in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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

from mentor_pyg.data import Scorer, edge_label_index, num_items, num_users
from mentor_pyg.graph import ItemLists
from mentor_pyg.ops import rank_items, seen_items
from mentor_pyg.ops.ranking import check_integer
from mentor_pyg.typing import Split

__all__ = ["METRICS", "full_ranking", "ranking_metrics"]

METRICS = {
    "recall": LinkPredRecall,
    "ndcg": LinkPredNDCG,
    "precision": LinkPredPrecision,
    "map": LinkPredMAP,
}
"""The metrics by the first half of their key, *e.g.* ``"recall@20"``."""

_USERS_AT_ONCE = 2**16  # Bounds the memory of the metrics; most datasets are measured at once.


def full_ranking(
    scorer: Scorer,
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
        scorer: What scores the items: fresh representations, ``model.encode(data)``, or another
            :class:`~mentor_pyg.data.Scorer`.
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
        TypeError: If ``scorer`` is none, or a ``k`` is no integer.
        ValueError: If an argument is out of range, the scores cannot be ranked or no user is
            left to rank.
    """
    if split not in ("val", "test"):
        raise ValueError(f"'split' needs to be 'val' or 'test' (got {split!r})")
    lengths = _lengths(k, num_items(data))
    _check_fits(scorer, data)
    seen = seen_items(data, ("train",))
    labels = ItemLists.from_edge_index(edge_label_index(data, split), num_users(data))
    wanted = labels.count > 0
    if not keep_cold_users:
        wanted &= seen.count > 0
    users = wanted.nonzero()[:, 0]
    if users.numel() == 0:
        raise ValueError(f"no user of the {split} split is left to rank")

    collection = _collection(lengths, metrics, users.device)
    for some in users.split(_USERS_AT_ONCE):
        ranked, _ = rank_items(scorer, some, max(lengths), seen, batch_size=batch_size)
        _update(collection, ranked.to(users.device), torch.stack(labels.of(some)))
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
    collection = _collection(k, metrics, ranked.device)
    _update(collection, ranked, labels)
    return {key: float(value) for key, value in collection.compute().items()}


def _lengths(k: Sequence[int] | int, num_items: int) -> list[int]:
    several = k if isinstance(k, Iterable) else (k,)
    lengths = [check_integer("k", length) for length in several]
    if not lengths or not 0 < min(lengths) <= max(lengths) <= num_items:
        raise ValueError(
            f"'k' needs positive integers up to the number of items, {num_items} "
            f"(got {tuple(lengths)})"
        )
    return lengths


def _check_fits(scorer: Scorer, data: HeteroData) -> None:
    if not isinstance(scorer, Scorer):
        raise TypeError(
            f"'scorer' needs to have num_users, num_items and scores(user), as model.encode(data) "
            f"has (got {type(scorer).__name__})"
        )
    got = (scorer.num_users, scorer.num_items)
    if got != (num_users(data), num_items(data)):
        raise ValueError(
            f"'scorer' is of {got[0]} users and {got[1]} items, but 'data' has {num_users(data)} "
            f"and {num_items(data)}"
        )


def _collection(
    k: Sequence[int], metrics: Sequence[str], device: torch.device
) -> LinkPredMetricCollection:
    if isinstance(metrics, str) or not metrics:
        raise ValueError(f"'metrics' needs a sequence of names (got {metrics!r})")
    if unknown := sorted(set(metrics).difference(METRICS)):
        raise ValueError(f"'metrics' needs names among {list(METRICS)} (got {unknown})")
    with _double_precision():
        found = {f"{m}@{n}": METRICS[m](k=n) for m in metrics for n in k}
        return LinkPredMetricCollection(found).to(device)


def _update(collection: LinkPredMetricCollection, ranked: Tensor, labels: Tensor) -> None:
    with _double_precision():
        collection.update(ranked, labels)


@contextmanager
def _double_precision() -> Iterator[None]:
    """PyG's metrics count in the default dtype; in float32 the averages are off by 1e-8."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
