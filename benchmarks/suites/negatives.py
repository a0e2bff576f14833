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

__all__ = ["cases", "check_negatives"]

_BATCH = 2048


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
    return _checked(edge_index, user, partial(sampler.sample, user), count)


def _naive(count: int | None, setting: Setting) -> Work:
    edge_index = load(setting)[INTERACTS].edge_index
    candidates = edge_index[1].unique().tolist()
    seen: dict[int, set[int]] = {}
    for user, item in edge_index.t().tolist():
        seen.setdefault(user, set()).add(item)
    users = _users(edge_index, count)

    def run() -> Tensor:
        drawn = []
        for user in users.tolist():
            item = random.choice(candidates)
            while item in seen[user]:
                item = random.choice(candidates)
            drawn.append(item)
        return torch.tensor(drawn, device=users.device)

    return _checked(edge_index, users, run, count)


def check_negatives(edge_index: Tensor, user: Tensor, item: Tensor) -> None:
    """Raise an ``AssertionError`` where an item was seen by its user, or by nobody."""
    assert item.shape == user.shape, f"{item.numel()} items for {user.numel()} users"
    num_items = int(edge_index[1].max()) + 1
    assert bool(torch.isin(item, edge_index[1]).all()), "an item that does not occur in train"
    seen = torch.isin(user * num_items + item, edge_index[0] * num_items + edge_index[1])
    assert not bool(seen.any()), f"{int(seen.sum())} items that their users have seen"


def _users(edge_index: Tensor, count: int | None) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    perm = torch.randperm(edge_index.size(1), generator=generator).to(edge_index.device)
    return edge_index[0, perm[:count]]


def _checked(
    edge_index: Tensor, user: Tensor, run: Callable[[], Tensor], count: int | None
) -> Work:
    def check(_: object) -> str:
        for _ in range(10 if count else 1):
            check_negatives(edge_index, user, run())
        return "no item that its user has seen in training"

    return Work(run, check, facts={"draws": user.numel()})
