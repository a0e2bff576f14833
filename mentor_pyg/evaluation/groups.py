"""Users, items and interactions by how much of train they have, and recall by group of items."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import Scorer, edge_label_index, num_items, num_users
from mentor_pyg.evaluation.accuracy import UserMeans
from mentor_pyg.evaluation.blocks import check_lengths, ranked_blocks
from mentor_pyg.ops.ranking import check_integer
from mentor_pyg.typing import Split

__all__ = [
    "cold_items",
    "interactions_by_popularity",
    "items_by_popularity",
    "recall_by_item_group",
    "users_by_activity",
]


def users_by_activity(data: HeteroData, at_least: Sequence[int]) -> Tensor:
    """Return the bin of every user ``[num_users]``, by the number of train interactions.

    Args:
        data: The dataset.
        at_least: The least number of train interactions in the bins 1, 2 and so on, ascending.
            Users with fewer than the first are in bin 0.

    Raises:
        TypeError: If ``at_least`` holds what is no integer.
        ValueError: If it is empty, not ascending, or has a number below 1.
    """
    return _bins(edge_label_index(data, "train")[0], num_users(data), at_least)


def items_by_popularity(data: HeteroData, at_least: Sequence[int]) -> Tensor:
    """Return the bin of every item ``[num_items]``, by the number of train interactions.

    Args:
        data: The dataset.
        at_least: As in :func:`users_by_activity`; with ``(1,)``, cold items are in bin 0 and warm
            ones in bin 1.

    Raises:
        TypeError: As :func:`users_by_activity` does.
        ValueError: Likewise.
    """
    return _bins(edge_label_index(data, "train")[1], num_items(data), at_least)


def cold_items(data: HeteroData) -> Tensor:
    """Return which items have no train interaction, as a bool tensor ``[num_items]``."""
    return items_by_popularity(data, (1,)) == 0


def interactions_by_popularity(data: HeteroData, split: Split, at_least: Sequence[int]) -> Tensor:
    """Return the bins of the items of a split's interactions ``[num_interactions]``.

    Args:
        data: The dataset.
        split: The split, whose order is kept.
        at_least: As in :func:`items_by_popularity`.

    Raises:
        TypeError: As :func:`users_by_activity` does.
        ValueError: Likewise, and if the data have no such split.
    """
    return items_by_popularity(data, at_least)[edge_label_index(data, split)[1]]


def _bins(node: Tensor, num_nodes: int, at_least: Sequence[int]) -> Tensor:
    """Return the bin of every node, by how often it is in ``node``."""
    least = [check_integer("at_least", number) for number in at_least]
    if not least or least[0] < 1 or sorted(set(least)) != least:
        raise ValueError(
            f"'at_least' needs ascending numbers of interactions from 1 on (got {tuple(least)})"
        )
    count = torch.bincount(node, minlength=num_nodes)
    return torch.bucketize(count, torch.tensor(least, device=count.device), right=True)


def recall_by_item_group(
    scorer: Scorer,
    data: HeteroData,
    group: Tensor,
    split: Split = "test",
    k: Sequence[int] | int = (10, 20),
    *,
    keep_cold_users: bool = False,
    batch_size: int = 1024,
) -> dict[str, Tensor]:
    """Return the recall of every group of items, in rankings of all items.

    The recall of a group is the mean, over users who have an interaction of the split with an item
    of the group, of the share of these items that is in the user's list. So it is that of
    :func:`~mentor_pyg.evaluation.full_ranking` if all items are in one group; items of other groups
    compete for places as they do there.

    Args:
        scorer: What scores the items.
        data: The dataset.
        group: The group of every item ``[num_items]``, counted from 0, *e.g.* that of
            :func:`items_by_popularity`, or :func:`cold_items` (group 1).
        split: ``"val"`` or ``"test"``.
        k: The lengths of ranking to measure.
        keep_cold_users: Whether to count users without train interactions.
        batch_size: Users ranked at a time.

    Returns:
        Under keys such as ``"recall@20"`` the recall in float64, NaN where no user counts; and the
        numbers of ``"users"`` and ``"interactions"`` that count, all ``[num_groups]``.

    Raises:
        TypeError: As :func:`~mentor_pyg.evaluation.full_ranking` does.
        ValueError: Likewise, and if ``group`` is none of this data.
    """
    lengths = check_lengths(k, num_items(data))
    group = _check_group(group, num_items(data)).to(edge_label_index(data, "train").device)
    num_groups = int(group.max()) + 1
    means = [UserMeans(lengths, ["recall"], group.device) for _ in range(num_groups)]
    users, interactions = (group.new_zeros(num_groups) for _ in range(2))
    for block in ranked_blocks(
        scorer, data, split, max(lengths), keep_cold_users=keep_cold_users, batch_size=batch_size
    ):
        label_group = group[block.labels[1]]
        interactions += torch.bincount(label_group, minlength=num_groups)
        for number, mean in enumerate(means):
            labels = block.labels[:, label_group == number]
            users[number] += labels[0].unique().numel()
            mean.update(block.item, labels)
    found = [mean.compute() for mean in means]
    recall = {
        key: torch.tensor([row[key] for row in found], dtype=torch.float64, device=group.device)
        for key in found[0]
    }
    for value in recall.values():
        value[users == 0] = torch.nan
    return {**recall, "users": users, "interactions": interactions}


def _check_group(group: Tensor, num_items: int) -> Tensor:
    group = torch.as_tensor(group)  # as people may well give a list or an array
    if group.shape != (num_items,) or group.is_floating_point() or int(group.min()) < 0:
        raise ValueError(
            f"'group' needs the group of each of the {num_items} items, whole numbers from 0 on "
            f"(got {group.dtype} of shape {list(group.shape)})"
        )
    return group.long()
