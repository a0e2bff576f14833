"""What the training loop costs: an epoch in a plain loop and by ``train``.

python benchmarks/training_loop.py --data data/tiktok
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import torch
from hardware import describe
from suites.step import train_step
from torch_geometric.data import HeteroData

from mentor_pyg import MENTOR, InteractionFolder, MENTORConfig
from mentor_pyg.evaluation import full_ranking
from mentor_pyg.sampling import BPRBatches
from mentor_pyg.training import TrainingConfig, train

__all__ = ["main"]


def epochs_of_train(data: HeteroData, config: MENTORConfig, epochs: int) -> list[float]:
    """Return the seconds from one epoch's end to the next, with checkpoints and logs between."""
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as out:
        train(
            MENTOR.from_data(data, config),
            data,
            out,
            config=TrainingConfig(epochs=epochs + 1, device="cpu"),
            on_epoch=lambda run, row: ends.append(time.perf_counter()),
        )
    return [after - before for before, after in itertools.pairwise(ends)]


def main() -> None:
    """Measure both in turn, ranking included, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/tiktok"))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    data = InteractionFolder(args.data)[0]
    config = MENTORConfig(contrast="batch")
    plain: list[float] = []
    looped: list[float] = []
    for _ in range(args.rounds):  # In turn, so that a busy moment of the machine hits both.
        model = MENTOR.from_data(data, config)
        inputs = model.prepare(data)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
        for epoch in range(args.epochs):
            start = time.perf_counter()
            batches = BPRBatches(data)
            batches.set_epoch(epoch)
            for batch in batches:
                train_step(model, optimizer, inputs, batch)
            with torch.no_grad():
                full_ranking(model.encode(inputs), data, "val")
            plain.append(time.perf_counter() - start)
        looped += epochs_of_train(data, config, args.epochs)
    a, b = statistics.median(plain), statistics.median(looped)
    print(", ".join(f"{k} {v}" for k, v in describe("cpu", torch.get_num_threads()).items()))
    print(f"plain loop  {a:.3f} s an epoch ({min(plain):.3f} to {max(plain):.3f})")
    print(f"train       {b:.3f} s an epoch ({min(looped):.3f} to {max(looped):.3f})")
    print(f"difference  {100 * (b / a - 1):+.1f}%")


if __name__ == "__main__":
    main()
