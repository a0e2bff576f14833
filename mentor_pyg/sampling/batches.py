"""Training batches of users, positives and negatives."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import Batch, UserBatch, edge_label_index, num_items, num_users
from mentor_pyg.sampling.negatives import UniformNegativeSampler

__all__ = ["BATCHES", "BPRBatches", "BatchUnit", "UserBatches", "mix_seed"]

BatchUnit: TypeAlias = Literal["interactions", "users"]
"""What a batch is made of: interactions, or users with all of theirs."""


class BPRBatches:
    """Every train interaction once per epoch, shuffled, each with one negative.

    An epoch's batches are a function of ``(seed, epoch)`` alone, so that a resumed run sees what
    an uninterrupted one would have seen. They are drawn on the device of ``data``.

    Args:
        data: The dataset.
        batch_size: Interactions per batch; the last batch may be smaller.
        seed: The seed of all epochs.

    Raises:
        ValueError: If ``batch_size`` is not positive.
    """

    _batch: ClassVar[type[Batch]] = Batch

    def __init__(self, data: HeteroData, batch_size: int = 2048, seed: int = 0) -> None:
        if batch_size < 1:
            raise ValueError(f"'batch_size' needs to be at least 1 (got {batch_size})")
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self._edge_index: Tensor = edge_label_index(data, "train")
        self._negatives = UniformNegativeSampler(self._edge_index, num_users(data), num_items(data))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self._edge_index.size(1) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        device = self._edge_index.device
        generator = torch.Generator(device).manual_seed(mix_seed(self.seed, self.epoch))
        perm, bounds = self._order(generator)
        user, pos_item = self._edge_index[:, perm]
        neg_item = self._negatives.sample(user, generator)
        for start, stop in itertools.pairwise(bounds):
            part = slice(start, stop)
            yield self._batch(user[part], pos_item[part], neg_item[part])

    def _order(self, generator: torch.Generator) -> tuple[Tensor, list[int]]:
        """Return the order of the interactions, and where batches start and the last one ends."""
        size = self._edge_index.size(1)
        perm = torch.randperm(size, generator=generator, device=generator.device)
        return perm, [*range(0, size, self.batch_size), size]


class UserBatches(BPRBatches):
    """Every user once per epoch, shuffled, with all train interactions and a negative for each.

    Users without train interactions are in no batch. Everything else is as with
    :class:`BPRBatches`.

    Args:
        data: The dataset.
        batch_size: Users per batch; the last batch may have fewer.
        seed: The seed of all epochs.
    """

    _batch = UserBatch

    def __init__(self, data: HeteroData, batch_size: int = 512, seed: int = 0) -> None:
        super().__init__(data, batch_size, seed)
        # By user: a batch is made of whole slices of this.
        self._edge_index = self._edge_index[:, self._edge_index[0].argsort(stable=True)]
        _, self._user, self._count = self._edge_index[0].unique_consecutive(
            return_inverse=True, return_counts=True
        )

    def __len__(self) -> int:
        return -(-self._count.numel() // self.batch_size)

    def _order(self, generator: torch.Generator) -> tuple[Tensor, list[int]]:
        users = self._count.numel()
        perm = torch.randperm(users, generator=generator, device=generator.device)
        place = torch.empty_like(perm)
        place[perm] = torch.arange(users, device=perm.device)
        stop = self._count[perm].cumsum(0)[self.batch_size - 1 :: self.batch_size]
        bounds = [0, *stop.tolist()]
        if bounds[-1] < self._user.numel():
            bounds.append(self._user.numel())
        return place[self._user].argsort(stable=True), bounds


BATCHES: Mapping[BatchUnit, type[BPRBatches]] = {"interactions": BPRBatches, "users": UserBatches}
"""What makes batches, by what these are made of."""


def mix_seed(seed: int, epoch: int) -> int:
    """Return one seed for an epoch of a run; neighbouring pairs do not share streams."""
    return (seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + 1) % 2**63
