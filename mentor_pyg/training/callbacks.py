"""Callbacks of training runs."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping, RichProgressBar

from mentor_pyg.training.run_folder import replaced_whole

__all__ = [
    "EpochCheckpoint",
    "EpochReport",
    "EpochSeed",
    "EpochTable",
    "LossProgressBar",
    "PatienceStopping",
]


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


class LossProgressBar(RichProgressBar):
    """A progress bar with the loss terms and the metric, and without the logger's version."""

    def get_metrics(self, *args: Any) -> dict[str, Any]:
        """Return what the bar shows."""
        metrics: dict[str, Any] = super().get_metrics(*args)
        return {key: value for key, value in metrics.items() if key != "v_num"}


class EpochTable(Callback):
    """Write the loss terms and metrics of every epoch to a CSV file, one row per epoch from 1.

    The rows travel in the checkpoints, so that the file of a resumed run has every epoch once.
    (Lightning's ``CSVLogger`` deletes what the interrupted run has logged.)

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add a row."""
        values = {key: float(value) for key, value in sorted(trainer.callback_metrics.items())}
        self.rows.append({"epoch": trainer.current_epoch + 1, **values})
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_whole(self.path) as partial:
            partial.write_text(text.getvalue())

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the rows of the epochs before."""
        self.rows = list(state_dict["rows"])


class PatienceStopping(EarlyStopping):
    """Stop after some epochs without gain, for good.

    A run that was interrupted after it had stopped, but before its results were written, does not
    train on when it is resumed.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop at once where the patience was used up before."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class EpochCheckpoint(Checkpoint):
    """Keep the last epoch, to resume from, and the weights of the best one.

    Of epochs that score the same, the first is the best. Files are replaced whole, and the state
    holds no paths, so that a run can be moved to another folder and resumed there. (Lightning's
    ``ModelCheckpoint`` would forget the best score.)

    Args:
        best: The file of the best epoch.
        last: The file of the last epoch.
        monitor: The metric to maximise.
    """

    def __init__(self, best: Path, last: Path, monitor: str) -> None:
        self.best = best
        self.last = last
        self.monitor = monitor
        self.best_score = float("-inf")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the files."""
        score = float(trainer.callback_metrics[self.monitor])
        if score > self.best_score:
            self.best_score = score
            _save(trainer, self.best, weights_only=True)
        _save(trainer, self.last)

    def state_dict(self) -> dict[str, Any]:
        """Return the score to beat."""
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the score to beat."""
        self.best_score = state_dict["best_score"]


def _save(trainer: L.Trainer, path: Path, weights_only: bool = False) -> None:
    with replaced_whole(path) as partial:
        trainer.save_checkpoint(partial, weights_only=weights_only)
