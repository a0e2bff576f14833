"""The rankings of a split's users, a block of users at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import Scorer, edge_label_index, num_items, num_users
from mentor_pyg.graph import ItemLists
from mentor_pyg.ops import rank_items, seen_items
from mentor_pyg.ops.ranking import check_integer
from mentor_pyg.typing import Split

__all__ = ["RankedUsers", "check_lengths", "ranked_blocks"]

_USERS_AT_ONCE = 2**16  # Bounds the memory of the metrics; most datasets are measured at once.


@dataclass(frozen=True)
class RankedUsers:
    """What some users are recommended, and what they wanted.

    Args:
        user: User ids ``[num_ranked]``.
        item: Item ids, best first ``[num_ranked, k]``.
        score: Their scores; minus infinity where a user has fewer than ``k`` unseen items, and
            what stands there is no recommendation.
        labels: The split's interactions ``[2, num_labels]`` of (row of ``item``, item).
    """

    user: Tensor
    item: Tensor
    score: Tensor
    labels: Tensor


def ranked_blocks(
    scorer: Scorer,
    data: HeteroData,
    split: Split,
    k: int,
    *,
    keep_cold_users: bool = False,
    batch_size: int = 1024,
) -> Iterator[RankedUsers]:
    """Rank all items but those of train for the users of a split, who are in ascending order.

    The arguments are those of :func:`~mentor_pyg.evaluation.full_ranking`, which says what raises.
    """
    if split not in ("val", "test"):
        raise ValueError(f"'split' needs to be 'val' or 'test' (got {split!r})")
    _check_fits(scorer, data)
    seen = seen_items(data, ("train",))
    labels = ItemLists.from_edge_index(edge_label_index(data, split), num_users(data))
    wanted = labels.count > 0
    if not keep_cold_users:
        wanted &= seen.count > 0
    users = wanted.nonzero()[:, 0]
    if users.numel() == 0:
        raise ValueError(f"no user of the {split} split is left to rank")
    for some in users.split(_USERS_AT_ONCE):
        item, score = rank_items(scorer, some, k, seen, batch_size=batch_size)
        found = torch.stack(labels.of(some))
        yield RankedUsers(some, item.to(users.device), score.to(users.device), found)


def check_lengths(k: Sequence[int] | int, num_items: int) -> list[int]:
    """Return the lengths of ranking to measure, as a list of ``int``.

    Raises:
        TypeError: If one is no integer.
        ValueError: If there is none, or one is out of range.
    """
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
