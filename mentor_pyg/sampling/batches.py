"""Training batches of users, positives and negatives."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, Batch, num_items, num_users
from mentor_pyg.sampling.negatives import UniformNegativeSampler

__all__ = ["BPRBatches", "mix_seed"]


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

    def __init__(self, data: HeteroData, batch_size: int = 2048, seed: int = 0) -> None:
        if batch_size < 1:
            raise ValueError(f"'batch_size' needs to be at least 1 (got {batch_size})")
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self._edge_index: Tensor = data[INTERACTS].edge_index
        self._negatives = UniformNegativeSampler(self._edge_index, num_users(data), num_items(data))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self._edge_index.size(1) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        device = self._edge_index.device
        generator = torch.Generator(device).manual_seed(mix_seed(self.seed, self.epoch))
        perm = torch.randperm(self._edge_index.size(1), generator=generator, device=device)
        user, pos_item = self._edge_index[:, perm]
        neg_item = self._negatives.sample(user, generator)
        for start in range(0, user.numel(), self.batch_size):
            part = slice(start, start + self.batch_size)
            yield Batch(user[part], pos_item[part], neg_item[part])


def mix_seed(seed: int, epoch: int) -> int:
    """Return one seed for an epoch of a run; neighbouring pairs do not share streams."""
    return (seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + 1) % 2**63
