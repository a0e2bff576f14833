"""Callbacks of training runs."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

__all__ = ["EpochReport", "EpochSeed"]


class EpochSeed(Callback):
    """Seed torch at the start of every epoch, so that a resumed run equals an unbroken one.

    Args:
        seed: The seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seed all devices with a number of this epoch."""
        torch.manual_seed(self.seed * 1_000_003 + trainer.current_epoch)


class EpochReport(Callback):
    """Print one line per epoch, for where no progress bar can be drawn.

    Args:
        monitor: The validation metric to show.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the loss terms and the metric."""
        shown: dict[str, Any] = dict(trainer.callback_metrics)
        terms = " ".join(
            f"{key.removeprefix('train/')} {float(value):.4f}"
            for key, value in shown.items()
            if key.startswith("train/")
        )
        score = float(shown.get(self.monitor, float("nan")))
        print(
            f"epoch {trainer.current_epoch + 1}: {terms} | {self.monitor} {score:.4f}", flush=True
        )
