"""What Lightning costs: an epoch of training in a plain loop and through the trainer.

python benchmarks/wrapper.py --data data/tiktok
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hardware import describe
from suites.step import train_step
from torch_geometric.data import HeteroData

from mentor_pyg import MENTOR, InteractionFolder, MENTORConfig
from mentor_pyg.sampling import BPRBatches
from mentor_pyg.training import EpochSeed, InteractionDataModule, RecommenderModule

__all__ = ["main"]


class EpochTimer(L.Callback):
    """Keep the seconds of every epoch's training steps."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, *args: Any) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def on_train_epoch_end(self, *args: Any) -> None:
        """Stop it."""
        self.seconds.append(time.perf_counter() - self.start)


def plain_epoch(data: HeteroData, model: MENTOR, optimizer: Any, epoch: int) -> float:
    """Train an epoch and return its seconds."""
    start = time.perf_counter()
    torch.manual_seed(epoch)
    batches = BPRBatches(data)
    batches.set_epoch(epoch)
    for batch in batches:
        train_step(model, optimizer, data, batch)
    return time.perf_counter() - start


def lightning_epochs(data: HeteroData, config: MENTORConfig, epochs: int) -> list[float]:
    """Train epochs through the trainer, without ranking, and return their seconds."""
    timer = EpochTimer()
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        limit_val_batches=0,
        callbacks=[EpochSeed(0), timer],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1,
    )
    trainer.fit(RecommenderModule(MENTOR.from_data(data, config)), InteractionDataModule(data))
    return timer.seconds


def main() -> None:
    """Measure both in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/tiktok"))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    data = InteractionFolder(args.data)[0]
    config = MENTORConfig(contrast="batch")
    plain, wrapped = [], []
    for _ in range(args.rounds):  # In turn, so that a busy moment of the machine hits both.
        model = MENTOR.from_data(data, config)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
        plain += [plain_epoch(data, model, optimizer, epoch) for epoch in range(args.epochs)]
        wrapped += lightning_epochs(data, config, args.epochs)
    a, b = statistics.median(plain), statistics.median(wrapped)
    print(", ".join(f"{k} {v}" for k, v in describe("cpu", torch.get_num_threads()).items()))
    print(f"plain loop  {a:.3f} s an epoch ({min(plain):.3f} to {max(plain):.3f})")
    print(f"Lightning   {b:.3f} s an epoch ({min(wrapped):.3f} to {max(wrapped):.3f})")
    print(f"difference  {100 * (b / a - 1):+.1f}%")


if __name__ == "__main__":
    main()
