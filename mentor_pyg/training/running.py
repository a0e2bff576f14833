"""Fit, select on validation, report on test."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers.logger import Logger
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from torch_geometric.data import HeteroData

from mentor_pyg.config import Config
from mentor_pyg.data import (
    Batch,
    Inputs,
    edge_label_index,
    fingerprint,
    modalities,
    validate_data,
)
from mentor_pyg.devices import resolve_device
from mentor_pyg.environment import describe_environment
from mentor_pyg.interrupts import interruptible
from mentor_pyg.memory import keep_freed_memory
from mentor_pyg.models import Draws, Model, Popularity, Recommender, build_model, save_model
from mentor_pyg.ops import choose_backend
from mentor_pyg.sampling import BATCHES
from mentor_pyg.training.config import TrainingConfig
from mentor_pyg.training.loop import Hook, fit, rank
from mentor_pyg.training.run_folder import RunFolder, read_settings
from mentor_pyg.transforms import JoinSplits
from mentor_pyg.typing import Split

__all__ = ["train"]


def train(
    model: str | type[Model] | Model,
    data: HeteroData,
    out: str | Path,
    *,
    settings: Mapping[str, Any] | Config | None = None,
    config: TrainingConfig | Mapping[str, Any] | None = None,
    refit: bool = False,
    test: bool = True,
    source: str | None = None,
    loggers: Sequence[Logger] = (),
    on_step: Hook | None = None,
    on_epoch: Hook | None = None,
) -> dict[str, Any]:
    """Train a model, choose its epoch on validation, and report that epoch on test.

    A model without gradients is fitted instead, once, which counts as epoch 1; of ``config``,
    only ``k`` and ``device`` matter to it.

    On a CPU the process keeps memory that it frees from then on, see ``mentor_pyg/memory.py``.

    If ``out`` holds an interrupted run of the same settings, that run goes on; so does a finished
    one, if it is given more epochs or patience.

    Args:
        model: A registered name, a model class, or a model to start from.
        data: The dataset, with validation and test interactions.
        out: The output folder. It gets ``metrics.json``, ``settings.json``, ``model.safetensors``
            (for :func:`mentor_pyg.models.load_model`), checkpoints, CSV and TensorBoard logs.
        settings: The model's settings that are not the default, or its config; none for a model
            that is built.
        config: The run's settings, or those that are not the default.
        refit: Whether to train a second model afterwards, in ``out/refit``, on all interactions
            for as many epochs as validation chose.
        test: Whether to report test; a search for settings leaves it unread.
        source: Where the data came from, which ``settings.json`` remembers.
        loggers: Lightning loggers that get every epoch's terms and metrics too.
        on_step: Called after every step with the run and the weighted terms.
        on_epoch: Called after every epoch with the run and its row, before it is saved.

    Returns:
        What ``metrics.json`` holds: ``val`` and ``test`` metrics at the best epoch, ``best_epoch``
        (from 1), ``seconds`` (since this start, where it resumed a run) and ``config``.

    Raises:
        ValueError: If a setting is wrong, or does not go with the data; before any training.
        UnavailableError: If a backend or precision cannot run here; likewise.
        OSError: If ``out`` cannot be written to, is in use, or holds something else; likewise.
        FloatingPointError: If a loss term becomes infinite or not a number.
    """
    start = time.perf_counter()
    if not isinstance(config, TrainingConfig):
        config = TrainingConfig.from_dict(config or {})
    validate_data(data)
    torch.manual_seed(config.seed)
    if not isinstance(model, Model):
        model = build_model(model, data, settings)
    elif settings:
        raise ValueError("'settings' cannot be given beside a model, which has its own config")
    device = resolve_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    initial = copy.deepcopy(model.state_dict()) if refit else {}
    ready = model.transformed(data)
    ready = copy.copy(ready).to(device)  # The caller's is left as it is.
    inputs = model.to(device).prepare(ready)
    _try(model, inputs, ready, config)
    _check_splits(model, data, config, test, refit)
    described = describe_run(model, inputs, data, config, source)
    with RunFolder(out, described) as folder, interruptible(folder.path):
        print(f"writing to {folder.path}", flush=True)
        tensorboard = TensorBoardLogger(folder.logs, name="", version="tensorboard")
        fabric = _fabric(device, [tensorboard, *loggers])
        try:
            best_epoch = fit(
                fabric, model, ready, folder, config, on_step=on_step, on_epoch=on_epoch
            )
        finally:
            for logger in fabric.loggers:
                logger.finalize("")
        save_model(model, folder.weights, data)
        splits: tuple[Split, ...] = ("val", "test") if test else ("val",)
        metrics: dict[str, Any] = {
            **{split: rank(model, inputs, ready, split, config.k) for split in splits},
            "best_epoch": best_epoch,
            "seconds": round(time.perf_counter() - start, 1),
            "config": described,
        }
        if refit:
            if initial:  # A model that is fitted has none.
                model.load_state_dict(initial)
            _refit(model, data, folder.path / "refit", config, best_epoch, source)
        folder.finish(metrics)
    return metrics


def _refit(
    model: Model,
    data: HeteroData,
    out: Path,
    config: TrainingConfig,
    epochs: int,
    source: str | None,
) -> None:
    """Train on the interactions of all splits for a number of epochs that validation chose."""
    joined, device = JoinSplits()(data), resolve_device(config.device)
    ready = copy.copy(model.transformed(joined)).to(device)
    config = config.replace(epochs=epochs, patience=epochs)
    described = describe_run(model, model.prepare(ready), joined, config, source)
    before = out / "settings.json"
    if (out / "metrics.json").exists() and read_settings(before) == described:
        return  # The run was interrupted after it.
    with RunFolder(out, described) as folder:
        fit(_fabric(device, []), model, ready, folder, config, select=False)
        save_model(model, folder.weights, joined)
        folder.finish({"epochs": epochs, "config": described})


def describe_run(
    model: Model,
    inputs: Inputs,
    data: HeteroData,
    config: TrainingConfig,
    source: str | None,
) -> dict[str, Any]:
    """Return what a run's result depends on, as JSON has it."""
    training = config.to_dict()
    del training["device"]  # Where a run goes on is not what it is.
    environment: dict[str, Any] = {**describe_environment(inputs.device), "data": source}
    environment["modalities"] = list(modalities(data))
    asked, graph = getattr(model.config, "backend", None), inputs.graphs.get("interaction")
    if asked is not None and graph is not None:
        x = torch.empty(graph.num_sources, 1, device=graph.device)
        environment["backend"] = choose_backend(graph, x, asked)
    sizes = {"num_users": model.num_users, "num_items": model.num_items}
    described: dict[str, Any] = {
        "model": {"name": model.name, "settings": model.config.to_dict()},
        "training": training,
        "data": {**sizes, "sha256": fingerprint(data)},
        "environment": environment,
    }
    return json.loads(json.dumps(described))


def _fabric(device: torch.device, loggers: Sequence[Logger]) -> Fabric:
    devices = 1 if device.index is None else [device.index]
    # A run is one process also on a cluster, whose own ways of resuming stay out of it.
    alone = LightningEnvironment()
    return Fabric(accelerator=device.type, devices=devices, plugins=alone, loggers=list(loggers))


def _check_splits(
    model: Model, data: HeteroData, config: TrainingConfig, test: bool, refit: bool
) -> None:
    """Raise now and not after the training where test cannot be ranked, or all splits learned."""
    known = edge_label_index(data, "train")[0]
    if test and not torch.isin(edge_label_index(data, "test")[0], known).any():
        raise ValueError(
            "the test split has no interactions of users with train interactions; nothing could be "
            "reported"
        )
    if refit and isinstance(model, Recommender):
        try:
            BATCHES[config.batches](JoinSplits()(data), config.batch_size)
        except ValueError as error:
            raise ValueError(
                f"'refit' trains on the interactions of all splits, where {error}, or do without "
                f"'refit'"
            ) from error


def _try(model: Model, inputs: Inputs, data: HeteroData, config: TrainingConfig) -> None:
    """Rank and take a loss, so that what cannot be done raises now and not after an epoch."""
    ranked = model if isinstance(model, Recommender) else Popularity(model.sizes).fit(inputs)
    rank(ranked, inputs, data, "val", config.k)
    if not isinstance(model, Recommender):
        return
    batch: Batch = next(iter(BATCHES[config.batches](data, config.batch_size, config.seed)))
    with torch.no_grad():
        for objective in model.objectives():
            objective.terms(inputs, batch, Draws())
    if config.cuda_graph and (len(model.objectives()) > 1 or not model.has_static_shapes):
        mend = "give contrast='full', or " if hasattr(model.config, "contrast") else ""
        raise ValueError(
            f"'cuda_graph' needs one loss whose shapes are the same for all batches, which "
            f"{model.name} with these settings does not have; {mend}leave it out"
        )
