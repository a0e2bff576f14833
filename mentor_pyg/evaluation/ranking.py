"""Full ranking: every item for every user, in blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import Scorer, edge_label_index, num_items
from mentor_pyg.evaluation.accuracy import METRICS, UserMeans, UserValues, check_metrics
from mentor_pyg.evaluation.blocks import check_lengths, ranked_blocks
from mentor_pyg.evaluation.lists import LIST_METRICS, ListCounts
from mentor_pyg.typing import Split

__all__ = ["full_ranking", "measured", "per_user_metrics", "ranking_metrics"]


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
    """Rank all items for all users of a split, and measure the lists.

    Items that a user interacted with in training are left out of the user's ranking; those of
    other splits are not, as in the field's published results.

    Args:
        scorer: What scores the items: fresh representations, ``model.encode(data)``, or another
            :class:`~mentor_pyg.data.Scorer`.
        data: The dataset.
        split: ``"val"`` or ``"test"``.
        k: The lengths of ranking to measure.
        metrics: Names among :data:`METRICS`, which are averaged over the ranked users, and
            :data:`LIST_METRICS`, which are of all their lists together.
        keep_cold_users: Whether to count users without train interactions, whom a model knows
            nothing about. Published results leave them out, as this does by default.
        batch_size: Users ranked at a time.

    Returns:
        The values under keys such as ``"recall@20"``.

    Raises:
        TypeError: If ``scorer`` is none, or a ``k`` is no integer.
        ValueError: If an argument is out of range, the scores cannot be ranked or no user is
            left to rank.
    """
    found, _ = measured(
        scorer, data, split, k, metrics, keep_cold_users=keep_cold_users, batch_size=batch_size
    )
    return found


def per_user_metrics(
    scorer: Scorer,
    data: HeteroData,
    split: Split = "test",
    k: Sequence[int] | int = (10, 20),
    metrics: Sequence[str] = tuple(METRICS),
    *,
    keep_cold_users: bool = False,
    batch_size: int = 1024,
) -> dict[str, Tensor]:
    """Rank as :func:`full_ranking` does, and return the value of every user.

    It is what paired tests of two models are made of: the users and their order depend on the data
    and the split alone.

    Args:
        scorer: What scores the items.
        data: The dataset.
        split: ``"val"`` or ``"test"``.
        k: The lengths of ranking to measure.
        metrics: Names among :data:`METRICS`.
        keep_cold_users: Whether to rank users without train interactions.
        batch_size: Users ranked at a time.

    Returns:
        The ranked users under ``"user"``, ascending ids, and their values under keys such as
        ``"recall@20"`` in float64, all ``[num_ranked]``. Means of the values are what
        :func:`full_ranking` returns.

    Raises:
        TypeError: As :func:`full_ranking` does.
        ValueError: Likewise, and if a metric is of all lists together.
    """
    check_metrics(metrics, list(METRICS))
    _, values = measured(
        scorer,
        data,
        split,
        k,
        metrics,
        per_user=True,
        keep_cold_users=keep_cold_users,
        batch_size=batch_size,
    )
    return values


def measured(
    scorer: Scorer,
    data: HeteroData,
    split: Split,
    k: Sequence[int] | int,
    metrics: Sequence[str],
    *,
    per_user: bool = False,
    keep_cold_users: bool = False,
    batch_size: int = 1024,
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Return both, in one pass: what :func:`full_ranking` does and :func:`per_user_metrics`.

    The second holds the metrics that have values per user, and nothing without ``per_user``.
    """
    check_metrics(metrics, [*METRICS, *LIST_METRICS])
    of_users, of_lists = ([m for m in metrics if m in some] for some in (METRICS, LIST_METRICS))
    if per_user and not of_users:
        raise ValueError(
            f"'metrics' needs one that each user has a value of, among {list(METRICS)} (got "
            f"{list(metrics)}, of all lists together)"
        )
    lengths = check_lengths(k, num_items(data))
    item = edge_label_index(data, "train")[1]
    means = UserMeans(lengths, of_users, item.device)
    values = UserValues(lengths, of_users if per_user else ())
    counts = ListCounts(lengths, of_lists, torch.bincount(item, minlength=num_items(data)))
    for block in ranked_blocks(
        scorer, data, split, max(lengths), keep_cold_users=keep_cold_users, batch_size=batch_size
    ):
        means.update(block.item, block.labels)
        values.update(block.user, block.item, block.labels)
        counts.update(block.item, block.score)
    found = means.compute() | counts.compute()
    keys = [f"{name}@{length}" for name in metrics for length in lengths]
    return {key: found[key] for key in keys}, values.compute()


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
    check_metrics(metrics, list(METRICS))
    means = UserMeans(k, metrics, ranked.device)
    means.update(ranked, labels)
    return means.compute()
