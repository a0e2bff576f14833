"""The best unseen items of some users, whatever scores the items."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from numbers import Integral
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import FUSED, Representations, Scorer, edge_label_index, num_users
from mentor_pyg.data.raw_ids import listed
from mentor_pyg.graph import ItemLists
from mentor_pyg.typing import Split

__all__ = ["check_integer", "rank_items", "recommend_items", "seen_items", "user_ids"]


@torch.no_grad()
def rank_items(
    scorer: Scorer,
    user: Tensor,
    k: int,
    seen: ItemLists | None = None,
    *,
    batch_size: int = 1024,
) -> tuple[Tensor, Tensor]:
    """Rank all items for some users, a block of users at a time.

    Args:
        scorer: What scores the items.
        user: User ids ``[num_ranked]``, int64.
        k: The number of items to return, from 1 to the number of items.
        seen: What to leave out.
        batch_size: Users per block.

    Returns:
        Item ids and scores, both ``[num_ranked, k]``, best first, and of items with equal scores
        those of lower ids first: the first items are the same whatever ``k``. A user with fewer
        than ``k`` unseen items gets seen ones at the end, with a score of minus infinity.

    Raises:
        ValueError: If ``batch_size`` is below 1, or the scores are of another shape or not finite.
    """
    if batch_size < 1:
        raise ValueError(f"'batch_size' needs to be at least 1 (got {batch_size})")
    scores = scorer.scores
    if isinstance(scorer, Representations):
        size = min(batch_size, user.numel())
        scores = partial(scorer.scores, out=scorer.item[FUSED].new_empty(size, scorer.num_items))
    blocks = []
    for some in user.split(batch_size):
        score = scores(some).contiguous()
        _check_scores(score, some.numel(), scorer.num_items)
        if seen is not None:
            row, item = seen.of(some.to(seen.start.device))
            score.view(-1)[(row * scorer.num_items + item).to(score.device)] = -torch.inf
        blocks.append(_best(score, k))
    score, item = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return item, score


def _best(score: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the ``k`` greatest of each row and where they are, of equal ones the first ones."""
    more = score.topk(min(k + 1, score.size(1)), dim=1)
    item, same = more.indices[:, :k].contiguous(), more.values[:, 1:] == more.values[:, :-1]
    # Which of equal ones ``topk`` takes, and in what order, hangs on ``k`` and on the device.
    if same.size(1) == k and (cut := same[:, -1].nonzero().squeeze(1)).numel():
        rows, least = score[cut], more.values[cut, -1:]
        above, equal = rows > least, rows == least
        left = k - above.sum(dim=1, keepdim=True, dtype=torch.int32)
        kept = above | (equal & (equal.cumsum(dim=1, dtype=torch.int32) <= left))
        item[cut] = kept.nonzero()[:, 1].view(-1, k)
    tied = same.any(dim=1).nonzero().squeeze(1)
    found = item[tied].sort(dim=1).values
    order = score[tied.unsqueeze(1), found].sort(dim=1, descending=True, stable=True).indices
    item[tied] = found.gather(1, order)
    return more.values[:, :k].contiguous(), item


def _check_scores(score: Tensor, num_users: int, num_items: int) -> None:
    if score.shape != (num_users, num_items):
        raise ValueError(
            f"'scorer' needs to give {num_users} users scores of the shape "
            f"{[num_users, num_items]} (got {list(score.shape)})"
        )
    # A sum that is finite is proof, at the price of one pass; one that is not may have overflowed.
    if not bool(score.sum().isfinite()) and not bool(score.isfinite().all()):
        raise ValueError(
            "'scorer' gives infinite or NaN values, which cannot be ranked; the parameters they "
            "come from are spoilt, so train with a lower learning rate"
        )


def recommend_items(
    scorer: Scorer, user: Any, k: int, seen: ItemLists | None = None, *, raw_id: Any = None
) -> tuple[Tensor, Tensor]:
    """Recommend items to some users.

    Args:
        scorer: What scores the items.
        user: One user or several, as :func:`user_ids` takes them.
        k: The number of items.
        seen: What to leave out.
        raw_id: The users' original ids, if they have any.

    Returns:
        Item ids and scores, both ``[batch, k]``, best first; ``batch`` is 1 for a single user.
        Ids are -1 where a user has fewer than ``k`` unseen items.

    Raises:
        TypeError: If ``k`` is no integer.
        ValueError: If a user or ``k`` is out of range, or the scores cannot be ranked.
    """
    if not 0 < (k := check_integer("k", k)) <= scorer.num_items:
        raise ValueError(
            f"'k' needs to be a positive integer up to the number of items, {scorer.num_items} "
            f"(got {k})"
        )
    item, score = rank_items(scorer, user_ids(user, scorer.num_users, raw_id), k, seen)
    return item.masked_fill(score == -torch.inf, -1), score


def check_integer(name: str, value: object) -> int:
    """Return an argument as an ``int``, also one of NumPy.

    Raises:
        TypeError: If it is no integer; the message names the argument.
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        kind = type(value).__name__
        raise TypeError(f"'{name}' needs to be an integer (got {value!r} of the type {kind})")
    return int(value)


def user_ids(user: Any, num_users: int, raw_id: Any = None) -> Tensor:
    """Return user ids ``[batch]``, int64.

    Args:
        user: One user or several, in a list, an array or a tensor. Numbers are user ids, which
            count from 0. Texts are original ids, in digits where the original ids are numbers.
        num_users: The number of users.
        raw_id: The users' original ids, as a list, an array or a tensor ``[num_users]``.

    Raises:
        ValueError: If a user is unknown or out of range.

    Examples:
        >>> user_ids(["carol", "alice"], 3, raw_id=["alice", "bob", "carol"])
        tensor([2, 0])
        >>> user_ids(1, 3)
        tensor([1])
    """
    if not isinstance(user, Tensor):
        array = np.asarray(user)
        if array.size and array.dtype.kind in "OU":
            return _look_up(np.asarray(user, dtype=object).reshape(-1).tolist(), raw_id)
        user = torch.tensor(array if array.size else array.astype(np.int64))
    if user.dim() > 1 or user.is_floating_point() or user.dtype == torch.bool:
        raise ValueError(
            f"'user' needs to be integer ids of shape [batch], or original ids as text "
            f"(got {user.dtype} of shape {list(user.shape)})"
        )
    user = user.long().reshape(-1)
    if user.numel() and not 0 <= int(user.min()) <= int(user.max()) < num_users:
        mend = "" if raw_id is None else "; give original ids as text"
        raise ValueError(
            f"'user' needs ids from 0 to {num_users - 1} "
            f"(got {int(user.min())} to {int(user.max())}){mend}"
        )
    return user


def _look_up(wanted: list[Any], raw_id: Any) -> Tensor:
    if other := [one for one in wanted if not isinstance(one, str)]:
        raise ValueError(
            f"'user' needs to be integer ids of shape [batch], or original ids as text "
            f"(got {other[0]!r} among them)"
        )
    if (known := listed(raw_id)) is None:
        raise ValueError(
            f"'user' holds original ids such as {wanted[0]!r}, but data['user'].raw_id, which "
            f"says whose they are, is missing; add it, or give numbers that count from 0"
        )
    asked = set(wanted)
    number = {text: n for n, text in enumerate(map(str, known)) if text in asked}
    if unknown := [one for one in wanted if one not in number]:
        raise ValueError(
            f"'user' has {unknown[0]!r}, which is no user of the data; original ids of users are "
            f"such as {[str(one) for one in known[:3]]}"
        )
    return torch.tensor([number[one] for one in wanted])


def seen_items(data: HeteroData, exclude: Sequence[Split] | None = None) -> ItemLists:
    """Return what every user interacted with in some splits, to leave it out.

    Args:
        data: The dataset.
        exclude: The splits; by default all that the data has.

    Raises:
        ValueError: If a split is unknown, or named and not in the data.
    """
    known = get_args(Split)
    if isinstance(exclude, str) or not set(exclude or ()) <= set(known):
        raise ValueError(f"'exclude' needs a sequence of splits among {known} (got {exclude!r})")
    edges = [edge_label_index(data, "train")[:, :0]]
    for split in known if exclude is None else exclude:
        try:
            edges.append(edge_label_index(data, split))
        except ValueError:
            if exclude is not None:
                raise
    return ItemLists.from_edge_index(torch.cat(edges, dim=1), num_users(data))
