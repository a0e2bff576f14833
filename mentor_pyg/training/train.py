"""Fit, select on validation, report on test."""

from __future__ import annotations

import copy
import dataclasses
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.loggers import TensorBoardLogger
from torch_geometric.data import HeteroData

from mentor_pyg.data import validate_data
from mentor_pyg.evaluation import full_ranking
from mentor_pyg.graph import interaction_adjacency
from mentor_pyg.models import Recommender, build_model, save_model
from mentor_pyg.ops.propagate import choose_backend
from mentor_pyg.sampling import BPRBatches
from mentor_pyg.training.callbacks import (
    EpochCheckpoint,
    EpochReport,
    EpochSeed,
    EpochTable,
    LossProgressBar,
    PatienceStopping,
)
from mentor_pyg.training.datamodule import InteractionDataModule
from mentor_pyg.training.fingerprint import fingerprint
from mentor_pyg.training.module import RecommenderModule
from mentor_pyg.training.quiet import quiet_lightning
from mentor_pyg.training.run_folder import RunFolder
from mentor_pyg.version import __version__

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
    cuda_graph: bool = False
    """Whether training steps are replayed from a CUDA graph, on CUDA."""

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"'{name}' needs to be at least 1 (got {getattr(self, name)})")
        if not self.lr > 0:
            raise ValueError(f"'lr' needs to be above 0 (got {self.lr})")
        if self.seed < 0:
            raise ValueError(f"'seed' needs to be at least 0 (got {self.seed})")
        if not isinstance(self.k, tuple) or not self.k or min(self.k) < 1:
            raise ValueError(f"'k' needs a tuple of positive integers (got {self.k})")
        device = resolve_device(self.device)
        if self.cuda_graph and device.type != "cuda":
            raise ValueError(f"'cuda_graph' needs a CUDA device (got {device}); leave it out")

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
        (from 1), ``seconds`` (since this start, where it resumed a run) and ``config``.

    Raises:
        ValueError: If a setting is wrong, or does not go with the data; before any training.
        UnavailableError: If a backend or precision cannot run here; likewise.
        OSError: If ``out`` cannot be written to, or holds something else; likewise.
        FloatingPointError: If a loss term becomes infinite or not a number.
    """
    start = time.perf_counter()
    config = config or TrainingConfig()
    validate_data(data)
    checksum = fingerprint(data)
    device = resolve_device(config.device)
    data = copy.copy(data).to(device)  # The caller's is left as it is.
    torch.manual_seed(config.seed)
    recommender = build_model(model, data, settings or {}).to(device)
    datamodule = InteractionDataModule(data, config.batch_size, config.seed)
    module = RecommenderModule(recommender, config.lr, config.k, config.cuda_graph)
    _try(recommender, data, config)
    described = describe_run(model, recommender, data, checksum, config)
    folder = RunFolder(out, described)
    with quiet_lightning():
        _fit(module, datamodule, folder, config)
    best = torch.load(folder.best_checkpoint, map_location="cpu", weights_only=True)
    module.load_state_dict(best["state_dict"])
    save_model(recommender.cpu(), folder.weights)
    metrics = {
        **_rank(recommender.to(device), data, config.k),
        "best_epoch": best["epoch"] + 1,
        "seconds": round(time.perf_counter() - start, 1),
        "config": described,
    }
    folder.finish(metrics)
    return metrics


def describe_run(
    name: str, model: Recommender, data: HeteroData, checksum: str, config: TrainingConfig
) -> dict[str, Any]:
    """Return everything that a run's result depends on, as plain values."""
    settings = model.config.to_dict()
    if "backend" in settings:  # Each sums and draws noise in its own way: a run has one.
        adjacency = interaction_adjacency(data)
        x = torch.empty(adjacency.num_sources, 1, device=adjacency.device)
        settings["backend_run"] = choose_backend(adjacency, x, settings["backend"])
    described = {
        "model": name,
        **settings,
        **dataclasses.asdict(config),
        "device": str(resolve_device(config.device)),
        "data": {
            "num_users": model.num_users,
            "num_items": model.num_items,
            "sha256": checksum,
        },
        "version": __version__,
        "torch": torch.__version__,
    }
    plain: dict[str, Any] = json.loads(json.dumps(described))
    return plain


def resolve_device(name: str) -> torch.device:
    """Return the device that a name means.

    Raises:
        ValueError: If the name is unknown, or CUDA is asked for and not to be had.
    """
    kind, _, index = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (index and (kind != "cuda" or not index.isdigit())):
        raise ValueError(
            f"'device' needs to be 'auto', 'cpu', 'cuda' or 'cuda:<index>' (got {name!r})"
        )
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cpu" or (kind == "auto" and not found):
        return torch.device("cpu")
    if int(index or 0) >= found:
        raise ValueError(
            f"'device' is {name!r}, but torch finds {found} CUDA devices; use "
            f"{'a lower index' if found else repr('cpu')}"
        )
    return torch.device("cuda", int(index or 0))


def _fit(
    module: RecommenderModule,
    datamodule: InteractionDataModule,
    folder: RunFolder,
    config: TrainingConfig,
) -> None:
    """Train until validation stops it, from the folder's last epoch if it has one."""
    device = resolve_device(config.device)
    interactive = sys.stdout.isatty()
    trainer = L.Trainer(
        accelerator=device.type,
        devices=1 if device.index is None else [device.index],
        # A run is one process also on a cluster, whose own ways of resuming stay out of it.
        plugins=[LightningEnvironment()],
        max_epochs=config.epochs,
        callbacks=[
            EpochSeed(config.seed),
            EpochTable(folder.table),
            PatienceStopping(config.monitor, mode="max", patience=config.patience),
            EpochCheckpoint(folder.best_checkpoint, folder.last_checkpoint, config.monitor),
            LossProgressBar() if interactive else EpochReport(config.monitor),
        ],
        enable_progress_bar=interactive,
        logger=TensorBoardLogger(folder.path, name="logs", version="tensorboard"),
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        enable_model_summary=False,
    )
    resume = folder.last_checkpoint if folder.last_checkpoint.exists() else None
    trainer.fit(module, datamodule, ckpt_path=resume, weights_only=True)


def _try(model: Recommender, data: HeteroData, config: TrainingConfig) -> None:
    """Rank and take a loss, so that what cannot be done raises now and not after an epoch."""
    _rank(model, data, config.k)
    batch = next(iter(BPRBatches(data, config.batch_size, config.seed)))
    with torch.no_grad():
        model.loss(data, *batch)


def _rank(model: Recommender, data: HeteroData, k: tuple[int, ...]) -> dict[str, Any]:
    with torch.no_grad():
        reps = model.encode(data)
    return {split: full_ranking(reps, data, split, k) for split in ("val", "test")}
