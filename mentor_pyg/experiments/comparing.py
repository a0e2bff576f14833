"""The cells of a comparison: every model on every dataset with every seed, each trained once."""

from __future__ import annotations

import itertools
import json
import math
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import Scorer, fingerprint, modalities
from mentor_pyg.datasets.sources import read_source
from mentor_pyg.evaluation import full_ranking, items_by_popularity, recall_by_item_group
from mentor_pyg.evaluation.ranking import measured
from mentor_pyg.experiments.plan import Entry, Plan
from mentor_pyg.experiments.runs import changes, finished_run
from mentor_pyg.experiments.searching import chosen_settings
from mentor_pyg.files import read_json, write_json
from mentor_pyg.interrupts import interruptible
from mentor_pyg.memory import PeakMemory
from mentor_pyg.models import FittedModel, Model, load_model
from mentor_pyg.models.registry import find_model
from mentor_pyg.tensor_files import load_checked, save_checked
from mentor_pyg.training import Fit, TrainingConfig, train
from mentor_pyg.training.run_folder import MAY_GROW, read_settings
from mentor_pyg.transforms import RemoveModalities

__all__ = ["BEYOND", "STRATA", "Asked", "Cell", "cells_of", "compare"]

BEYOND = ("coverage", "gini", "novelty", "average_popularity")
"""What is reported beside the accuracy."""
STRATA = (1, 5, 20)
"""The least train interactions of the groups of items and users, but for the first, which has 0."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One model on one dataset with one seed, and its folder."""

    data: str
    entry: Entry
    seed: int
    folder: Path

    @property
    def result(self) -> dict[str, Any] | None:
        """What came of it, ``None`` while there is nothing; ``"error"`` is in it if it failed.

        Raises:
            ValueError: If its file is damaged.
        """
        path = self.folder / "cell.json"
        if not path.is_file():
            return None
        mend = "remove it, and the next comparison makes it anew, from the run beside it"
        with read_json(path, mend) as found:
            result: dict[str, Any] = found
            if not result.keys() & {"config", "error"}:
                raise ValueError("it is no result")
        return result

    @property
    def is_done(self) -> bool:
        """Whether there is a result that is no failure."""
        result = self.result
        return result is not None and "error" not in result

    @property
    def per_user(self) -> dict[str, Tensor]:
        """The metrics of every test user, under their keys, and the users under ``"user"``.

        Raises:
            OSError: If their file is not there.
            ValueError: If it is damaged.
        """
        path = self.folder / "users.safetensors"
        mend = f"remove {self.folder / 'cell.json'}, and the next comparison makes both anew"
        try:
            return load_checked(path)[0]
        except (OSError, ValueError) as error:
            raise type(error)(f"{path} is gone or damaged ({error}); {mend}") from error


def cells_of(plan: Plan, out: Path) -> list[Cell]:
    """Return all cells, first those of the first seed; models without gradients have no others."""
    return [
        Cell(data=data, entry=e, seed=seed, folder=out / "cells" / data / e.label / f"seed-{seed}")
        for seed in plan.seeds
        for data, e in plan.cells()
        if e.has_seeds or seed == plan.seeds[0]
    ]


def compare(plan: Plan, out: Path, *, baselines: bool = True) -> list[Cell]:
    """Train every cell that is not done, rank its test once, and return all cells.

    Run again, it goes on where it stopped: a cell under way is resumed, one that failed is tried
    again. Several processes share the cells through the folder.

    Args:
        plan: The plan. What it searches needs to be searched already.
        out: The folder of the comparison.
        baselines: Whether models without gradients have to be among the models.

    Raises:
        FileNotFoundError: If a search has not ended.
        ValueError: If a dataset has no model without gradients beside it, a cell that is done is
            of other settings or data than the plan has now, or a model does not go with a
            dataset, as :meth:`Plan.check` says.
    """
    for name in plan.data if baselines else ():
        _check_baselines(plan, name)
    cells, settings = cells_of(plan, out), {}
    read = lru_cache(maxsize=1)(read_source)  # One dataset is held at a time.
    for name, source in plan.data.items():  # Before anything is trained.
        asked = Asked(plan, read(source), out)
        for cell in (cell for cell in cells if cell.data == name):
            if (name, cell.entry.label) not in settings:
                plan.check(cell.entry, name, read(source))
                settings[name, cell.entry.label] = asked.settings(cell)
            asked.check(cell)
    with interruptible(out):
        for cell in (cell for cell in cells if not cell.is_done):
            cell.folder.mkdir(parents=True, exist_ok=True)
            holder = FileLock(cell.folder.with_suffix(".lock"), timeout=0)
            try:
                with holder:
                    if not cell.is_done:  # Another process may have been at it meanwhile.
                        data = read(plan.data[cell.data])
                        _run(cell, settings[cell.data, cell.entry.label], data, plan)
            except Timeout:
                print(f"{_name(cell)}: another process is at it", flush=True)
    return cells


class Asked:
    """What a plan asks of the cells of a dataset.

    Args:
        plan: The plan.
        data: The dataset.
        out: The folder of the comparison, with what searches chose.
    """

    def __init__(self, plan: Plan, data: HeteroData, out: Path) -> None:
        self._plan, self._data, self._out = plan, data, out
        self._checksums: dict[str, str] = {}

    def settings(self, cell: Cell) -> dict[str, dict[str, Any]]:
        """Return a cell's ``settings`` and ``training``; errors as in :func:`chosen_settings`."""
        checksum, trials = self._checksum, self._plan.trials
        return chosen_settings(cell.entry, cell.data, self._out, checksum, trials)

    def check(self, cell: Cell) -> None:
        """Raise if a cell, done or under way, is of other settings or data, or its users are lost.

        One that is under way may be given more epochs or patience.

        Raises:
            OSError: If the file of its users' metrics is not there.
            ValueError: If that is damaged, or something was changed.
        """
        is_done, asked = cell.is_done, self.settings(cell)
        if is_done:
            ran = (cell.result or {})["config"]
        else:
            try:
                ran = read_settings(cell.folder / "run" / "settings.json")
            except (OSError, ValueError):
                return  # It is not begun; or it fails when its turn comes, and no other.
            now = TrainingConfig.from_dict(asked["training"]).to_dict()
            ran["training"] |= {name: now[name] for name in MAY_GROW}
        checksum = self._checksum(cell.entry)
        if changed := changes(ran, cell.entry.model, asked, cell.seed, checksum):
            raise ValueError(
                f"{cell.folder} was trained with other settings or data than the plan has now "
                f"({changed}); undo the change, choose another --out, or remove that folder to "
                f"have it trained anew"
            )
        if is_done:
            _ = cell.per_user

    def _checksum(self, entry: Entry) -> str:
        """Return the checksum of the dataset as a model gets it."""
        key = json.dumps([entry.without, entry.missing])
        if key not in self._checksums:
            self._checksums[key] = fingerprint(entry.reads(self._data))
        return self._checksums[key]


def _check_baselines(plan: Plan, data: str) -> None:
    models = {find_model(e.model) for d, e in plan.cells() if d == data}
    if not any(issubclass(model, FittedModel) for model in models):
        raise ValueError(
            f"the comparison on {data} has no model without gradients; add popularity, and "
            f"item_knn, user_knn, rp3beta or ease, which are often hard to beat, or content_knn, "
            f"which ranks by features alone"
        )


def _name(cell: Cell) -> str:
    return f"{cell.entry.label} on {cell.data}, seed {cell.seed}"


def _run(cell: Cell, settings: Mapping[str, Any], data: HeteroData, plan: Plan) -> None:
    """Train and rank a cell; what fails is written down, and the next cell's turn comes."""
    config = TrainingConfig.from_dict({**settings["training"], "seed": cell.seed})
    times = [time.perf_counter()]

    def watch(run: Fit, row: Mapping[str, Any]) -> None:
        times.append(time.perf_counter())

    memory = PeakMemory()
    run = cell.folder / "run"
    try:
        data = cell.entry.reads(data)
        metrics = finished_run(run, cell.entry.model, settings, cell.seed, fingerprint(data))
        if metrics is None:
            metrics = train(
                cell.entry.model,
                data,
                run,
                settings=settings["settings"],
                config=config,
                source=None if cell.entry.missing else plan.data[cell.data],
                on_epoch=watch,
            )
        result = {**metrics, **_ranked(cell, run, data, config.k)}
    except Exception as error:  # Whatever it is: the others are still to be trained.
        result = {
            "error": f"{type(error).__name__}: {error}",
            "traceback": traceback.format_exc(),
        }
        print(f"{_name(cell)}: failed: {error}", file=sys.stderr, flush=True)
    else:
        epochs = [after - before for before, after in itertools.pairwise(times)]
        result["epoch_seconds"] = sorted(epochs)[len(epochs) // 2] if epochs else None
        result["peak_mib"] = memory.read()
        key = f"recall@{max(config.k)}"
        print(f"{_name(cell)}: {key} {result['test'][key]:.4f}", flush=True)
    write_json(cell.folder / "cell.json", result)


def _ranked(cell: Cell, run: Path, data: HeteroData, k: tuple[int, ...]) -> dict[str, Any]:
    """Return what is measured beside the accuracy, and write the metrics of every user."""
    model = load_model(run / "model.safetensors", data)
    key = f"recall@{max(k)}"
    with _scorer(model, data) as scorer:
        metrics = ("recall", "ndcg", *BEYOND)
        found, per_user = measured(scorer, data, "test", k, metrics, per_user=True)
        groups = items_by_popularity(data, STRATA)
        items = recall_by_item_group(scorer, data, groups, k=max(k))
    save_checked(per_user, cell.folder / "users.safetensors")
    hidden = {}
    for modality in modalities(data) if cell.entry.has_seeds and model.uses_features else ():
        without = RemoveModalities(modality, keep_width=True)(data)
        with _scorer(model, without) as scorer:
            hidden[modality] = full_ranking(scorer, data, "test", max(k), metrics=("recall",))[key]
    return {
        "beyond": {name: value for name, value in found.items() if name.split("@")[0] in BEYOND},
        "items": [None if math.isnan(x) else x for x in items[key].tolist()],
        "hidden": hidden,
    }


@contextmanager
def _scorer(model: Model, data: HeteroData) -> Iterator[Scorer]:
    with torch.no_grad(), model.evaluating():
        yield model.scorer(model.prepare(data))
