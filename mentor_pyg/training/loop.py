"""The loop: resample, steps, validation, checkpoints, patience, report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer
from torch_geometric.data import HeteroData

from mentor_pyg.data import Inputs
from mentor_pyg.evaluation import full_ranking
from mentor_pyg.models import FittedModel, Model, Recommender, Step
from mentor_pyg.sampling import BATCHES, mix_seed
from mentor_pyg.training.config import TrainingConfig
from mentor_pyg.training.reports import EpochReport
from mentor_pyg.training.run_folder import RunFolder
from mentor_pyg.typing import Split

__all__ = ["Fit", "Hook", "fit", "rank"]

_COUNTED = ("epoch", "best_epoch", "best_score", "rows")


@dataclass
class Fit:
    """A run under way, as its hooks see it."""

    model: Model
    inputs: Inputs
    optimizers: tuple[Optimizer, ...]
    """One for each of the model's objectives."""
    epoch: int = 0
    """Epochs that are finished."""
    best_epoch: int = 0
    """The epoch (from 1) of the highest validation metric, the first of equals."""
    best_score: float = float("-inf")
    rows: list[dict[str, float]] = field(default_factory=list)
    """The loss terms and metrics of every epoch."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs, as tensors and plain values."""
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        counted = {name: getattr(self, name) for name in _COUNTED}
        return {"model": self.model.state_dict(), "optimizers": optimizers, "counted": counted}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.model.load_state_dict(state["model"])
        for optimizer, before in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(before)
        vars(self).update(state["counted"])


Hook = Callable[[Fit, Mapping[str, Any]], None]
"""Called with the run and the terms of a step (tensors), or the row of an epoch (numbers)."""


def fit(
    fabric: Fabric,
    model: Model,
    data: HeteroData,
    folder: RunFolder,
    config: TrainingConfig,
    *,
    select: bool = True,
    on_step: Hook | None = None,
    on_epoch: Hook | None = None,
) -> int:
    """Train until validation stops it, from the folder's last epoch if it has one.

    Model and data are on the device, the data with the model's item graphs. Without ``select``
    there is no validation, and the last epoch counts as the best. For the hooks see ``train``. A
    model without gradients is fitted, in the one epoch that it has. Returns the selected epoch,
    whose state the model is left in.
    """
    if isinstance(model, FittedModel):
        return _fit_once(fabric, model, data, folder, config, select, on_epoch)
    assert isinstance(model, Recommender), "there is no third kind of model"
    step = Step(
        model.objectives(), config.lr, cuda_graph=config.cuda_graph, backward=fabric.backward
    )
    run = Fit(model, model.prepare(data), step.optimizers)
    if folder.last.exists():
        run.load_state_dict(folder.load(folder.last))
    batches = BATCHES[config.batches](data, config.batch_size, config.seed)
    generator = torch.Generator(run.inputs.device)
    monitor = f"val/recall@{max(config.k)}"
    with EpochReport(config.epochs, run.epoch, len(batches), monitor) as report:
        while run.epoch < config.epochs and run.epoch - run.best_epoch < config.patience:
            seed = mix_seed(config.seed, run.epoch)
            torch.manual_seed(seed)
            batches.set_epoch(run.epoch)
            inputs = model.resample(run.inputs, run.epoch, generator.manual_seed(seed))
            means = _Means()
            model.train()
            for batch in batches:
                terms = step(inputs, batch)
                means.add(terms)
                report.step()
                if on_step is not None:
                    on_step(run, terms)
            run.epoch += 1
            row = {"epoch": float(run.epoch), **means.compute(run.epoch, config.lr)}
            if select:
                metrics = rank(model, run.inputs, data, "val", config.k)
                row |= {f"val/{key}": value for key, value in metrics.items()}
            run.rows.append(row)
            score = row[monitor] if select else float(run.epoch)
            is_best = score > run.best_score
            if is_best:
                run.best_epoch, run.best_score = run.epoch, score
            if on_epoch is not None:
                on_epoch(run, row)
            if is_best:
                folder.save(folder.best, {"model": model.state_dict(), "epoch": run.epoch})
            folder.save(folder.last, run.state_dict())
            folder.write_table(run.rows)
            fabric.log_dict({k: v for k, v in row.items() if k != "epoch"}, step=run.epoch)
            report.epoch(row)
    best = folder.load(folder.best)
    model.load_state_dict(best["model"])
    return int(best["epoch"])


def _fit_once(
    fabric: Fabric,
    model: FittedModel,
    data: HeteroData,
    folder: RunFolder,
    config: TrainingConfig,
    select: bool,
    on_epoch: Hook | None,
) -> int:
    """Fit a model without gradients; no checkpoint, since that takes longer to write."""
    run = Fit(model, model.prepare(data), (), epoch=1, best_epoch=1)
    model.fit(run.inputs)
    metrics = rank(model, run.inputs, data, "val", config.k) if select else {}
    run.rows.append({"epoch": 1.0, **{f"val/{key}": value for key, value in metrics.items()}})
    if on_epoch is not None:
        on_epoch(run, run.rows[0])
    folder.write_table(run.rows)
    fabric.log_dict({k: v for k, v in run.rows[0].items() if k != "epoch"}, step=1)
    return 1


class _Means:
    """The mean of every term over the steps of an epoch that have it.

    Summed on the device: reading a step stalls a GPU.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.spoilt: dict[str, Tensor] = {}
        self.steps: Counter[str] = Counter()

    def add(self, terms: Mapping[str, Tensor]) -> None:
        for name, term in terms.items():
            self.sums[name] = self.sums.get(name, 0) + term
            self.spoilt[name] = self.spoilt.get(name, 0) + ~term.isfinite()
        self.steps.update(terms.keys())

    def compute(self, epoch: int, lr: float) -> dict[str, float]:
        # A term that is not finite spoils the parameters, and they all terms after it.
        worst = max(self.spoilt, key=lambda name: int(self.spoilt[name]))
        if int(self.spoilt[worst]) > 0:
            raise FloatingPointError(
                f"the loss term '{worst}' became infinite or NaN in epoch {epoch}; "
                f"lower the learning rate ({lr:g})"
            )
        return {
            f"train/{name}": float(total) / self.steps[name] for name, total in self.sums.items()
        }


@torch.no_grad()
def rank(
    model: Model, inputs: Inputs, data: HeteroData, split: Split, k: tuple[int, ...]
) -> dict[str, float]:
    """Rank a split by the model's scores, fresh and in evaluation mode."""
    with model.evaluating():
        return full_ranking(model.scorer(inputs), data, split, k)
