"""Settings found on validation, by Optuna: resumable, by several processes at once."""

from __future__ import annotations

import json
import math
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from torch_geometric.data import HeteroData

from mentor_pyg.data import fingerprint
from mentor_pyg.datasets.sources import read_source
from mentor_pyg.dependencies import require
from mentor_pyg.experiments.plan import Entry, Plan, Space
from mentor_pyg.experiments.runs import differences, finished_run
from mentor_pyg.files import read_json, write_json
from mentor_pyg.interrupts import interruptible
from mentor_pyg.sampling import mix_seed
from mentor_pyg.training import Fit, TrainingConfig, train

__all__ = ["chosen_settings", "search"]

_RUNG = 20
"""Epochs after which a trial may first be given up; again after twice as many, and so on. Earlier
it would be fast learners that are chosen, such as low temperatures of a softmax."""


def search(plan: Plan, out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Search every model's space on every dataset of a plan, and return what was chosen.

    Settings are chosen by the recall on validation; test is never ranked. Every search has the
    same number of trials, of which hopeless ones are given up by successive halving. Where all
    that is searched are lists and ranges of whole numbers, every trial is another point, drawn in
    an order of the plan's ``search_seed``; if there are fewer points than trials, each is tried
    once. Run again, it goes on where it stopped; several processes share the work through the
    folder.

    Args:
        plan: The plan.
        out: The folder: ``search.db`` has the trials, ``search/<data>/<label>`` their runs and
            ``chosen.json``.

    Returns:
        Per dataset and label what ``chosen.json`` holds; without those that other processes are
        still at work on.

    Raises:
        MissingPackageError: If Optuna is not installed.
        ValueError: If a model does not go with a dataset, as :meth:`Plan.check` says; if the
            folder holds a search of another plan, or no trial came to an end, after the others
            have been searched.
    """
    found, errors = {}, []
    searched = [(name, entry) for name, entry in plan.cells() if entry.space]
    read = lru_cache(maxsize=1)(read_source)  # One dataset is held at a time.
    for name, entry in searched:  # Before anything is trained, or a study made.
        plan.check(entry, name, read(plan.data[name]))
    for name, entry in searched:
        data = entry.reads(read(plan.data[name]))
        try:
            with interruptible(out):
                chosen = _Search(plan, entry, name, data, out).run()
        except ValueError as error:  # The others are still to be searched.
            errors.append(f"{entry.label} on {name}: {error}")
            continue
        if chosen is not None:
            found[name, entry.label] = chosen
    if errors:
        raise ValueError("; ".join(errors))
    return found


def chosen_settings(
    entry: Entry,
    data: str,
    out: Path,
    checksum: Callable[[Entry], str] | None = None,
    trials: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the settings of a model on a dataset: those given, and those that a search chose.

    Args:
        entry: The model.
        data: The name of the dataset.
        out: The folder of the comparison.
        checksum: What gives the checksum of the dataset as a model gets it, to be checked against
            that of the search.
        trials: The plan's, to be checked likewise.

    Raises:
        FileNotFoundError: If there is something to search and no search has ended.
        ValueError: If the search was of another plan, of other data or of fewer or more trials,
            or its file is damaged.
    """
    given = {"settings": dict(entry.settings), "training": dict(entry.training)}
    if entry.base is not None:  # A variant has what its base has but for its own.
        base = chosen_settings(entry.base, data, out, checksum, trials)
        return {part: {**base[part], **given[part]} for part in given}
    if not entry.space:
        return given
    path = _folder(out, data, entry) / "chosen.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there: the settings of {entry.label} on {data} are still to be "
            f"searched; run `mentor-pyg search` with the same --config and --out"
        )
    with read_json(path, "remove it and search again") as chosen:
        searched, of_data, had = chosen["searched"], chosen["data"], chosen["trials"]
        parts = {part: chosen[part] for part in given}
    if searched != _described(entry):
        raise ValueError(f"{path} was chosen by a search of another plan; search in another --out")
    if trials is not None and had != (asked := _budget(entry.space, trials)):
        raise ValueError(
            f"{path} was chosen among {had} trials, and the plan asks for {asked} now; undo the "
            f"change, or search in another --out"
        )
    if checksum is not None and of_data != checksum(entry):
        raise ValueError(f"{path} was chosen on other data or splits; search in another --out")
    return parts


def _folder(out: Path, data: str, entry: Entry) -> Path:
    return out / "search" / data / entry.label


def _described(entry: Entry) -> dict[str, Any]:
    """Return what a search is of, as JSON has it."""
    names = ("model", "settings", "training", "space", "without")
    parts = {name: getattr(entry, name) for name in names}
    if entry.missing:
        parts["missing"] = entry.missing
    described: dict[str, Any] = json.loads(json.dumps(parts))
    return described


class _Search:
    """The search of one model on one dataset."""

    def __init__(self, plan: Plan, entry: Entry, name: str, data: HeteroData, out: Path) -> None:
        self.plan, self.entry, self.data = plan, entry, data
        self.checksum = fingerprint(data)
        self.trials = _budget(entry.space, plan.trials)
        self.label = f"{entry.label} on {name}"
        self.folder = _folder(out, name, entry)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.optuna: Any = require("optuna", extra="experiments", purpose="Searching settings")
        self.optuna.logging.set_verbosity(self.optuna.logging.WARNING)
        self.states = self.optuna.trial.TrialState
        self.lock = FileLock(out / "search.lock")
        with self.lock:
            self.study = self.optuna.create_study(
                storage=self._storage(out / "search.db"),
                study_name=f"{name}/{entry.label}",
                direction="maximize",
                load_if_exists=True,
                pruner=self.optuna.pruners.SuccessiveHalvingPruner(
                    min_resource=_RUNG, reduction_factor=2
                ),
            )
            self._check_same(out)
            for point in _points(entry.space, self.trials, plan.search_seed):
                self.study.enqueue_trial(point, skip_if_exists=True)

    def _storage(self, path: Path) -> Any:
        errors = require("sqlalchemy.exc", extra="experiments", purpose="Searching")
        try:
            return self.optuna.storages.RDBStorage(
                f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}}
            )
        except errors.OperationalError as error:
            raise OSError(f"{path} cannot be opened, or is in use ({error.orig})") from error
        except errors.DatabaseError as error:
            raise ValueError(
                f"{path} is no database of searches ({error.orig}); put a copy in its place, or "
                f"choose another --out"
            ) from error

    def _check_same(self, out: Path) -> None:
        described = {
            "searched": _described(self.entry),
            "trials": self.trials,
            "data": self.checksum,
            "seed": self.plan.seeds[0],
            "search_seed": self.plan.search_seed,
        }
        before = {**described, **self.study.user_attrs.get("plan", {})}
        before["trials"] = _budget(self.entry.space, before["trials"])
        if changed := differences(before, described):
            raise ValueError(
                f"{out} holds a search of another plan ({changed}); give the same to go on with "
                f"it, or choose another --out"
            )
        self.study.set_user_attr("plan", described)

    def run(self) -> dict[str, Any] | None:
        """Take trials until there are enough, and return what they chose.

        ``None`` where another process still has one under way.
        """
        while True:
            with self._asked() as trial:
                if trial is None:
                    break
                self._try(trial)
        trials = self.study.get_trials(deepcopy=False)
        if any(trial.state == self.states.RUNNING for trial in trials):
            print(f"{self.label}: other processes are at work on the last trials", flush=True)
            return None
        return self._choose(trials)

    @contextmanager
    def _asked(self) -> Iterator[Any]:
        """Give the next trial, held against other processes; ``None`` if none is left to take."""
        with self.lock:
            self._free_abandoned()
            trials = self.study.get_trials(deepcopy=False)
            taken = [t for t in trials if t.state not in (self.states.FAIL, self.states.WAITING)]
            failed = [t for t in trials if "error" in t.user_attrs]
            if len(taken) + len(failed) >= self.trials:
                holder = trial = None
            else:
                seed = mix_seed(self.plan.search_seed, len(trials)) % 2**32
                self.study.sampler = self.optuna.samplers.TPESampler(seed=seed)
                trial = self.study.ask()
                if "run" not in trial.user_attrs:
                    trial.set_user_attr("run", f"trial-{trial.number:03}")
                holder = self._holder(trial)
                holder.acquire(timeout=0)
        try:
            yield trial
        finally:
            if holder is not None:
                holder.release()

    def _holder(self, trial: Any) -> FileLock:
        return FileLock(self.folder / f"{trial.user_attrs['run']}.lock")

    def _free_abandoned(self) -> None:
        """Have trials whose process is gone taken again, from where they stopped."""
        for trial in self.study.get_trials(deepcopy=False, states=(self.states.RUNNING,)):
            # What is being asked for is named under the lock that is held here.
            if (run := trial.user_attrs.get("run")) is None:
                self._take_again(trial, {})
                continue
            holder = self._holder(trial)
            try:
                holder.acquire(timeout=0)
            except Timeout:
                continue
            try:
                self._take_again(trial, {"run": run})
            finally:
                holder.release()

    def _take_again(self, trial: Any, attributes: Mapping[str, str]) -> None:
        # It may have been stopped before all of the values that it was given were asked for.
        point = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        self.study.tell(trial.number, state=self.states.FAIL)
        self.study.enqueue_trial(point, attributes)

    def _try(self, trial: Any) -> None:
        """Train with the settings of a trial, and record what came of it."""
        settings = self._suggest(trial)
        config = TrainingConfig.from_dict({**settings["training"], "seed": self.plan.seeds[0]})
        monitor = f"recall@{max(config.k)}"

        def watch(run: Fit, row: Mapping[str, Any]) -> None:
            trial.report(max(run.best_score, row[f"val/{monitor}"]), run.epoch)
            if trial.should_prune():
                raise self.optuna.TrialPruned

        path = self.folder / trial.user_attrs["run"]
        try:  # A process may have been stopped between the end of a trial's training and here.
            metrics = finished_run(
                path, self.entry.model, settings, config.seed, self.checksum
            ) or train(
                self.entry.model,
                self.data,
                path,
                settings=settings["settings"],
                config=config,
                test=False,
                on_epoch=watch,
            )
        except self.optuna.TrialPruned:
            self.study.tell(trial, state=self.states.PRUNED)
            print(f"{self.label}: given up {trial.params}", flush=True)
        except (ValueError, FloatingPointError, RuntimeError) as error:
            trial.set_user_attr("error", f"{type(error).__name__}: {error}")
            self.study.tell(trial, state=self.states.FAIL)
            print(f"{self.label}: failed {trial.params}: {error}", file=sys.stderr, flush=True)
        else:
            del metrics["config"]
            trial.set_user_attr("metrics", metrics)
            self.study.tell(trial, metrics["val"][monitor])
            print(
                f"{self.label}: {monitor} {metrics['val'][monitor]:.4f} {trial.params}", flush=True
            )
        shutil.rmtree(path / "checkpoints", ignore_errors=True)

    def _suggest(self, trial: Any) -> dict[str, dict[str, Any]]:
        found = {"settings": dict(self.entry.settings), "training": dict(self.entry.training)}
        for key, choice in self.entry.space.items():
            part, _, name = key.partition(".")
            found[part][name] = _suggested(trial, key, choice)
        return found

    def _choose(self, trials: list[Any]) -> dict[str, Any]:
        ended = [trial for trial in trials if trial.state == self.states.COMPLETE]
        if not ended:
            errors = {t.user_attrs["error"] for t in trials if "error" in t.user_attrs}
            raise ValueError(f"no trial came to an end: {sorted(errors)}")
        best = max(ended, key=lambda trial: (trial.value, -trial.number))
        settings = self._suggest(self.optuna.trial.FixedTrial(best.params))
        count = [trial.state for trial in trials].count
        chosen = {
            "searched": _described(self.entry),
            **settings,
            "val": best.user_attrs["metrics"]["val"],
            "trials": self.trials,
            "given_up": count(self.states.PRUNED),
            "failed": sum("error" in trial.user_attrs for trial in trials),
            "data": self.checksum,
        }
        write_json(self.folder / "chosen.json", chosen)
        return chosen


def _choices(space: Space) -> dict[str, Sequence[Any]]:
    """Return every setting's values; nothing if there is no finite number of points.

    More points than an index can count are as good as no finite number.
    """
    choices: dict[str, Sequence[Any]] = {}
    for key, choice in space.items():
        if not isinstance(choice, Mapping):
            choices[key] = [json.dumps(value) for value in choice]
        elif choice["scale"] == "linear" and isinstance(choice["from"] + choice["to"], int):
            choices[key] = range(choice["from"], choice["to"] + 1)
        else:
            return {}
    return choices if math.prod(map(len, choices.values())) <= sys.maxsize else {}


def _budget(space: Space, trials: int) -> int:
    """Return how many trials a search has: all points where there are fewer than were asked for."""
    choices = _choices(space)
    return min(trials, math.prod(map(len, choices.values()))) if choices else trials


def _points(space: Space, most: int, seed: int) -> list[dict[str, Any]]:
    """Return up to ``most`` different points of a space; none if it has no finite number."""
    choices = _choices(space)
    if not choices:
        return []
    shape = [len(values) for values in choices.values()]
    total = math.prod(shape)
    drawn = random.Random(seed).sample(range(total), min(most, total))
    places = zip(*np.unravel_index(drawn, shape), strict=True)
    return [
        {key: values[i] for (key, values), i in zip(choices.items(), place, strict=True)}
        for place in places
    ]


def _suggested(trial: Any, key: str, choice: Any) -> Any:
    """Return the value of a trial; lists and mappings among the values travel as JSON."""
    if isinstance(choice, Mapping):
        low, high, log = choice["from"], choice["to"], choice["scale"] == "log"
        if isinstance(low, int) and isinstance(high, int):
            return trial.suggest_int(key, low, high, log=log)
        return trial.suggest_float(key, low, high, log=log)
    return json.loads(trial.suggest_categorical(key, [json.dumps(value) for value in choice]))
