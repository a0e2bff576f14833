"""Negatives of a batch and of an epoch, beside rejection in plain Python."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import torch
from cases import Case, Setting, Work
from dataset import load
from torch import Tensor

from mentor_pyg.data import INTERACTS
from mentor_pyg.sampling import UniformNegativeSampler

__all__ = ["cases", "check_negatives", "check_uniform"]

_BATCH = 2048
_EXPECTED = 20
"""How often every negative of a user is drawn, on average, to see whether all are alike."""


def cases(setting: Setting) -> list[Case]:
    """Return the draws for a batch and for all train interactions."""
    return [
        Case("negatives", name, backend, partial(prepare, count))
        for name, count in ((f"a batch of {_BATCH}", _BATCH), ("an epoch", None))
        for backend, prepare in (("UniformNegativeSampler", _sampler), ("naive", _naive))
    ]


def _sampler(count: int | None, setting: Setting) -> Work:
    edge_index = load(setting)[INTERACTS].edge_index
    sampler = UniformNegativeSampler(edge_index, setting.num_users, setting.num_items)
    user = _users(edge_index, count)
    return _checked(edge_index, user, sampler.sample, count)


def _naive(count: int | None, setting: Setting) -> Work:
    edge_index = load(setting)[INTERACTS].edge_index
    candidates = edge_index[1].unique().tolist()
    seen: dict[int, set[int]] = {}
    for user, item in edge_index.t().tolist():
        seen.setdefault(user, set()).add(item)
    user = _users(edge_index, count)

    def sample(users: Tensor) -> Tensor:
        drawn = []
        for user in users.tolist():
            item = random.choice(candidates)
            while item in seen[user]:
                item = random.choice(candidates)
            drawn.append(item)
        return torch.tensor(drawn, device=users.device)

    return _checked(edge_index, user, sample, count)


def check_negatives(edge_index: Tensor, user: Tensor, item: Tensor) -> None:
    """Raise an ``AssertionError`` where an item was seen by its user, or by nobody."""
    assert item.shape == user.shape, f"{item.numel()} items for {user.numel()} users"
    num_items = int(edge_index[1].max()) + 1
    assert bool(torch.isin(item, edge_index[1]).all()), "an item that does not occur in train"
    seen = torch.isin(user * num_items + item, edge_index[0] * num_items + edge_index[1])
    assert not bool(seen.any()), f"{int(seen.sum())} items that their users have seen"


def check_uniform(edge_index: Tensor, sample: Callable[[Tensor], Tensor]) -> None:
    """Raise an ``AssertionError`` where a user's negatives are not equally frequent."""
    user = edge_index[0, 0]
    candidates = edge_index[1].unique()
    unseen = candidates[~torch.isin(candidates, edge_index[1, edge_index[0] == user])]
    drawn = sample(user.repeat(_EXPECTED * len(unseen)))
    counts = torch.searchsorted(unseen, drawn).bincount(minlength=len(unseen)).double()
    # The statistic has a mean of 1 and a standard deviation of sqrt(2 / freedom).
    freedom = len(unseen) - 1
    statistic = float(((counts - _EXPECTED) ** 2 / _EXPECTED).sum()) / freedom
    allowed = 1 + 6 * (2 / freedom) ** 0.5
    assert statistic < allowed, f"negatives of one user are not uniform: chi^2 is {statistic:.2f}"


def _users(edge_index: Tensor, count: int | None) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    perm = torch.randperm(edge_index.size(1), generator=generator).to(edge_index.device)
    return edge_index[0, perm[:count]]


def _checked(
    edge_index: Tensor, user: Tensor, sample: Callable[[Tensor], Tensor], count: int | None
) -> Work:
    def check(_: object) -> str:
        for _ in range(10 if count else 1):
            check_negatives(edge_index, user, sample(user))
        check_uniform(edge_index, sample)
        return "no item that its user has seen in training, and one user's equally frequent"

    return Work(partial(sample, user), check, facts={"draws": user.numel()})
