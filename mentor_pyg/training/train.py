"""Fit, select on validation, report on test."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, num_items, num_users, validate_data
from mentor_pyg.evaluation import full_ranking
from mentor_pyg.models import Recommender, build_model, save_model
from mentor_pyg.training.callbacks import EpochReport, EpochSeed
from mentor_pyg.training.datamodule import InteractionDataModule
from mentor_pyg.training.module import RecommenderModule
from mentor_pyg.training.run_folder import RunFolder

__all__ = ["TrainingConfig", "train"]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Settings of a training run."""

    lr: float = 1e-3
    """Adam's learning rate."""
    batch_size: int = 2048
    """Interactions per batch."""
    epochs: int = 1000
    """The most epochs to train."""
    patience: int = 20
    """Epochs without a better validation recall after which to stop."""
    seed: int = 0
    """The one seed of parameters, batches, negatives and noise."""
    k: tuple[int, ...] = (10, 20)
    """Lengths of ranking to measure; the longest selects."""
    device: str = "auto"
    """``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:<index>"``."""

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"'{name}' needs to be at least 1 (got {getattr(self, name)})")
        if not self.lr > 0:
            raise ValueError(f"'lr' needs to be above 0 (got {self.lr})")
        accelerator_and_devices(self.device)

    @property
    def monitor(self) -> str:
        """The metric that selects the epoch."""
        return f"val/recall@{max(self.k)}"


def train(
    model: str,
    data: HeteroData,
    out: str | Path,
    *,
    settings: dict[str, Any] | None = None,
    config: TrainingConfig | None = None,
) -> dict[str, Any]:
    """Train a model, choose its epoch on validation, and report that epoch on test.

    ``out`` gets ``metrics.json``, ``model.safetensors`` (for
    :func:`mentor_pyg.models.load_model`), ``settings.json``, checkpoints, and logs as CSV and for
    TensorBoard. If it holds an interrupted run of the same settings, that run goes on.

    Args:
        model: A name among :data:`mentor_pyg.models.MODELS`.
        data: The dataset, with validation and test interactions.
        out: The output folder.
        settings: The model's settings, those of its config that are not the default.
        config: The run's settings.

    Returns:
        What ``metrics.json`` holds: ``val`` and ``test`` metrics at the best epoch, ``best_epoch``
        (from 1), ``seconds`` and ``config``.
    """
    config = config or TrainingConfig()
    validate_data(data)
    L.seed_everything(config.seed, verbose=False)
    recommender = build_model(model, data, settings or {})
    described = describe_run(model, recommender, data, config)
    folder = RunFolder(out, described)
    start = time.perf_counter()
    checkpoint = _fit(recommender, data, folder, config)
    best = torch.load(checkpoint, map_location="cpu", weights_only=True)
    recommender.load_state_dict(
        {key.removeprefix("model."): value for key, value in best["state_dict"].items()}
    )
    recommender.cpu()
    save_model(recommender, folder.weights)
    with torch.no_grad():
        reps = recommender.encode(data)
    metrics = {
        "val": full_ranking(reps, data, "val", config.k),
        "test": full_ranking(reps, data, "test", config.k),
        "best_epoch": best["epoch"] + 1,
        "seconds": round(time.perf_counter() - start, 1),
        "config": described,
    }
    folder.finish(metrics)
    return metrics


def describe_run(
    name: str, model: Recommender, data: HeteroData, config: TrainingConfig
) -> dict[str, Any]:
    """Return everything that a run's result depends on, as plain values."""
    edges = data[INTERACTS].edge_index.cpu().numpy().tobytes()
    return {
        "model": name,
        **model.config.to_dict(),
        **dataclasses.asdict(config),
        "data": {
            "num_users": num_users(data),
            "num_items": num_items(data),
            "train_sha256": hashlib.sha256(edges).hexdigest()[:16],
        },
        "version": version("mentor_pyg"),
    }


def _fit(model: Recommender, data: HeteroData, folder: RunFolder, config: TrainingConfig) -> Path:
    """Train until validation stops it and return the best epoch's checkpoint."""
    accelerator, devices = accelerator_and_devices(config.device)
    best = ModelCheckpoint(
        folder.checkpoints, "best", monitor=config.monitor, mode="max", save_last=True
    )
    interactive = sys.stdout.isatty()
    trainer = L.Trainer(
        accelerator=accelerator,
        devices=devices,
        max_epochs=config.epochs,
        callbacks=[
            EpochSeed(config.seed),
            best,
            EarlyStopping(config.monitor, mode="max", patience=config.patience),
            RichProgressBar() if interactive else EpochReport(config.monitor),
        ],
        enable_progress_bar=interactive,
        logger=[
            CSVLogger(folder.path, name="logs", version="csv"),
            TensorBoardLogger(folder.path, name="logs", version="tensorboard"),
        ],
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        enable_model_summary=False,
    )
    module = RecommenderModule(model, lr=config.lr, k=config.k)
    datamodule = InteractionDataModule(data, config.batch_size, config.seed)
    trainer.fit(module, datamodule, ckpt_path=folder.last_checkpoint, weights_only=True)
    return Path(best.best_model_path)


def accelerator_and_devices(device: str) -> tuple[str, int | list[int] | str]:
    """Translate a device name to Lightning's arguments.

    Raises:
        ValueError: If the name is unknown, or CUDA is asked for and not to be had.
    """
    name, _, index = device.partition(":")
    if name not in ("auto", "cpu", "cuda") or (index and (name != "cuda" or not index.isdigit())):
        raise ValueError(
            f"'device' needs to be 'auto', 'cpu', 'cuda' or 'cuda:<index>' (got {device!r})"
        )
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return "cpu", 1
    if not torch.cuda.is_available():
        raise ValueError(f"'device' is {device!r}, but torch finds no CUDA device; use 'cpu'")
    return "cuda", [int(index or 0)]
