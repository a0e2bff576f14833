"""The dataset and its batches, on the trainer's device."""

from __future__ import annotations

import copy

import lightning as L
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, validate_data
from mentor_pyg.sampling import BPRBatches
from mentor_pyg.typing import Split

__all__ = ["InteractionDataModule"]


class InteractionDataModule(L.LightningDataModule):
    """Give a trainer the train batches of a dataset, and its splits to rank.

    The dataset is moved to the device once. Batches are drawn there, and are a function of the
    seed and the epoch; the trainer needs ``reload_dataloaders_every_n_epochs=1``.

    Args:
        data: The dataset; it is left as it is.
        batch_size: Interactions per batch.
        seed: The seed of shuffling and negatives.

    Raises:
        ValueError: If the dataset is not valid, or has a user for whom there is no negative.
    """

    def __init__(self, data: HeteroData, batch_size: int = 2048, seed: int = 0) -> None:
        super().__init__()
        validate_data(data)
        self.data = copy.copy(data)
        self.batches = BPRBatches(self.data, batch_size, seed)

    def setup(self, stage: str) -> None:
        """Move the dataset to the trainer's device."""
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        if self.data[INTERACTS].edge_index.device != device:
            self.data = self.data.to(device)
            self.batches = BPRBatches(self.data, self.batches.batch_size, self.batches.seed)

    def train_dataloader(self) -> BPRBatches:
        """Return the batches of the current epoch."""
        assert self.trainer is not None
        self.batches.set_epoch(self.trainer.current_epoch)
        return self.batches

    def val_dataloader(self) -> list[Split]:
        """Return the name of the split to rank: all users at once, no batches."""
        return ["val"]

    def test_dataloader(self) -> list[Split]:
        """Return the name of the split to rank."""
        return ["test"]
