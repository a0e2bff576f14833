"""What is compared: data, models with what is searched, seeds and budget, from one YAML file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch_geometric.data import HeteroData

from mentor_pyg.config import AtLeastOne, Config, Seed
from mentor_pyg.data import num_items
from mentor_pyg.datasets.sources import SYNTHETIC
from mentor_pyg.evaluation.blocks import check_lengths
from mentor_pyg.models import MODELS, Recommender
from mentor_pyg.models.registry import find_model
from mentor_pyg.training import TrainingConfig
from mentor_pyg.transforms import DropFeatures, RemoveModalities
from mentor_pyg.typing import Modality
from mentor_pyg.yaml_files import read_yaml

__all__ = ["Entry", "Plan", "Space", "read_plan"]

Space = Mapping[str, tuple[Any, ...] | Mapping[str, Any]]
"""Per ``settings.NAME`` or ``training.NAME`` the values to try, or ``from``, ``to``, ``scale``."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A model of a comparison, under a label of its own."""

    label: str
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    space: Space = field(default_factory=dict)
    data: tuple[str, ...] = ()
    """The names of the datasets that it is trained on."""
    without: tuple[Modality, ...] = ()
    """The modalities that are taken from these first."""
    missing: Mapping[str, Any] = field(default_factory=dict)
    """The arguments of :class:`~mentor_pyg.transforms.DropFeatures`, which comes after that."""
    base: Entry | None = None
    """What it is a variant of, whose settings it has but for its own."""

    @property
    def has_seeds(self) -> bool:
        """Whether its result depends on the seed; a model without gradients has only one."""
        return issubclass(MODELS[self.model], Recommender)

    def reads(self, data: HeteroData) -> HeteroData:
        """Return a dataset as the model gets it."""
        data = RemoveModalities(self.without)(data) if self.without else data
        return DropFeatures(**self.missing)(data) if self.missing else data


@dataclass(frozen=True, kw_only=True)
class _Rest(Config):
    """What a plan has beside data and models, checked as settings are."""

    notes: tuple[str, ...] = ()
    seeds: tuple[Seed, ...] = (0, 1, 2, 3, 4)
    trials: AtLeastOne = 16
    search_seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A comparison of models on datasets."""

    path: Path
    """The file that it was read from."""
    data: Mapping[str, str]
    """Per name the folder, or ``"synthetic"``."""
    models: Mapping[str, Entry]
    seeds: tuple[int, ...]
    trials: int
    """Settings that a search tries, for every model and dataset alike."""
    search_seed: int
    notes: tuple[str, ...] = ()
    """Paragraphs of its author's, which the report has on top."""

    def cells(self) -> list[tuple[str, Entry]]:
        """Return every dataset and model that belong together."""
        return [(d, e) for d in self.data for e in self.models.values() if d in e.data]

    def check(self, entry: Entry, name: str, data: HeteroData) -> None:
        """Raise if a model does not go with a dataset, before time is spent on others.

        Args:
            entry: The model.
            name: The name of the dataset.
            data: The dataset.

        Raises:
            ValueError: If the data lack what the model is to be trained without, or have fewer
                items than are to be ranked.
        """
        training = (entry.base or entry).training
        try:
            entry.reads(data)
            check_lengths(TrainingConfig.from_dict(training).k, num_items(data))
        except (ValueError, RuntimeError) as error:  # Torch has the latter for a seed that is none.
            raise ValueError(f"{self.path}: {entry.label} on {name}: {error}") from error

    def only(self, labels: Sequence[str]) -> Plan:
        """Return the plan of some of the models, and of their variants; of all if none is named.

        Raises:
            ValueError: If a label is of no model.
        """
        if unknown := [label for label in labels if label not in self.models]:
            raise ValueError(
                f"'only' needs labels of the plan, {', '.join(self.models)} (got {unknown[0]!r})"
            )
        models = {
            label: entry
            for label, entry in self.models.items()
            if not labels or label in labels or (entry.base and entry.base.label in labels)
        }
        return replace(self, models=models)

    def ablation(self) -> Plan:
        """Return the plan of the models that have variants, and of these, alone.

        Raises:
            ValueError: If no model has any.
        """
        bases = {entry.base.label for entry in self.models.values() if entry.base is not None}
        if not bases:
            raise ValueError(
                "no model of the plan has 'variants', such as "
                "{no_alignment: {settings.align_weight: 0.0}}; add some"
            )
        models = {
            label: entry
            for label, entry in self.models.items()
            if label in bases or entry.base is not None
        }
        return replace(self, models=models)


def read_plan(path: Path) -> Plan:
    """Read a plan and check all of it.

    Relative folders are those below the working directory.

    Raises:
        FileNotFoundError: If the file, or a data folder, is not there.
        ValueError: If it is no YAML, a key is given twice, or a model, setting or value is
            unknown; the message names it and the known ones.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; correct --config")
    known = ("data", "models", "training", "notes", "seeds", "trials", "search_seed")
    values = _mapping(f"{path}", read_yaml(path), known)
    for name in ("data", "models"):
        if not isinstance(values.get(name), dict) or not values[name]:
            raise ValueError(f"{path}: '{name}' needs a mapping with one entry at least")
    data = _data(path, values["data"])
    rest: dict[str, Any] = {name: values[name] for name in known[3:] if name in values}
    try:
        checked = _Rest.from_dict(rest)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if len(set(checked.seeds)) != len(checked.seeds) or not checked.seeds:
        raise ValueError(f"{path}: 'seeds' needs different numbers (got {list(checked.seeds)})")
    common = _part(f"{path}: 'training'", values.get("training"))
    entries = [
        entry
        for label, one in values["models"].items()
        for entry in _entries(f"{path}: {label}", str(label), one, common, tuple(data))
    ]
    models = {entry.label: entry for entry in entries}
    if len(models) < len(entries):
        again = next(e.label for e in entries if models[e.label] is not e)
        raise ValueError(f"{path}: there are two models {again}; give one another label")
    _check_lengths(path, common, entries)
    return Plan(path=path, data=data, models=models, **vars(checked))


def _data(path: Path, values: Mapping[Any, Any]) -> dict[str, str]:
    """Return the datasets' folders by name."""
    data = {}
    for name, folder in values.items():
        try:
            _label(str(name))
        except ValueError as error:
            raise ValueError(f"{path}: 'data': {error}") from error
        if not isinstance(folder, str):
            raise ValueError(f"{path}: 'data' needs a folder for '{name}' (got {folder!r})")
        if folder != SYNTHETIC and not Path(folder).is_dir():
            raise FileNotFoundError(
                f"{path}: there is no data folder {Path(folder).resolve()} for '{name}'; relative "
                f"ones are below the working directory"
            )
        data[str(name)] = folder if folder == SYNTHETIC else str(Path(folder).resolve())
    return data


def _check_lengths(path: Path, common: Mapping[str, Any], entries: Sequence[Entry]) -> None:
    """Refuse models that are measured at lengths of their own."""
    own = {e.label: e.training["k"] for e in entries if "k" in e.training}
    if other := {label: k for label, k in own.items() if k != common.get("k")}:
        raise ValueError(
            f"{path}: 'k' has to be the same for all models; give it in the plan's own 'training' "
            f"(got {other})"
        )


def _entries(
    where: str, label: str, values: Any, common: Mapping[str, Any], data: tuple[str, ...]
) -> list[Entry]:
    """Return a model and its variants."""
    known = ("model", "settings", "training", "search", "data", "without", "missing", "variants")
    values = _mapping(where, values or {}, known)
    try:
        training = {**common, **_part("'training'", values.get("training"))}
        entry = Entry(
            label=_label(label),
            model=str(values.get("model", label)),
            settings=_part("'settings'", values.get("settings")),
            training=training,
            space=_space("search", values.get("search")),
            data=_names("data", values.get("data")) or data,
            without=_names("without", values.get("without")),
            missing=_missing(values.get("missing")),
        )
        entries = [entry]
        for name, changes in _part("'variants'", values.get("variants")).items():
            changes = dict(_part(f"'variants': {name}", changes))
            without = _names("without", changes.pop("without", entry.without))
            missing = _missing(changes.pop("missing", entry.missing))
            _space(f"variants: {name}", {key: [value] for key, value in changes.items()})
            parts: dict[str, dict[str, Any]] = {"settings": {}, "training": {}}
            for key, value in changes.items():
                part, _, setting = key.partition(".")
                parts[part][setting] = value
            label = f"{entry.label}-{_label(str(name))}"
            variant = Entry(
                label=label,
                model=entry.model,
                data=entry.data,
                without=without,
                missing=missing,
                base=entry,
                **parts,
            )
            entries.append(variant)
        for one in entries:
            _check(one, data)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error
    return entries


def _check(entry: Entry, data: tuple[str, ...]) -> None:
    """Build the configs of every value that may be tried, which raises where one is wrong."""
    model = find_model(entry.model)
    if unknown := sorted(set(entry.data).difference(data)):
        raise ValueError(f"'data' needs names among {list(data)} (got {unknown})")
    base = entry.base or entry
    if "seed" in entry.training or "training.seed" in base.space:
        raise ValueError("'training' has no seed of its own; 'seeds' has them")
    if "training.k" in base.space:
        raise ValueError("'training.k' is what is measured, and is not searched")
    for extreme in _extremes(base.space):
        model.Config.from_dict({**base.settings, **extreme["settings"], **entry.settings})
        TrainingConfig.from_dict({**base.training, **extreme["training"], **entry.training})


def _names(what: str, values: Any) -> tuple[str, ...]:
    if not isinstance(values, list | tuple | None):
        raise ValueError(f"'{what}' needs a list (got {values!r})")
    return tuple(map(str, values or ()))


def _missing(values: Any) -> Mapping[str, Any]:
    found = _mapping("'missing'", values or {}, ("share", "by", "seed"))
    if found and "share" not in found:
        raise ValueError("'missing' needs the 'share' of items that lose a modality")
    if found:
        DropFeatures(**found)  # Raises where one is wrong.
    if found.get("share") == 1:
        raise ValueError("'share' of 1 leaves no features; name the modalities in 'without'")
    return found


def _label(text: str) -> str:
    if not re.fullmatch(r"[\w.+-]+", text) or text.strip(".") == "":
        raise ValueError(
            f"a name is that of a folder, with letters, digits and _ . + - alone (got {text!r})"
        )
    return text


def _space(where: str, values: Any) -> Space:
    """Return what is searched; a variant's changes are checked as lists of one value."""
    space: dict[str, tuple[Any, ...] | Mapping[str, Any]] = {}
    for key, choice in _part(f"'{where}'", values).items():
        if key.partition(".")[0] not in ("settings", "training") or "." not in key:
            raise ValueError(f"'{where}' needs settings.NAME or training.NAME (got {key!r})")
        if isinstance(choice, list) and choice:
            if again := [value for i, value in enumerate(choice) if value in choice[:i]]:
                raise ValueError(f"'{key}' needs different values (got {again[0]!r} twice)")
            space[key] = tuple(choice)
            continue
        if not isinstance(choice, dict) or not {"from", "to"} <= set(choice):
            raise ValueError(
                f"'{key}' needs a list of values, or from, to and scale (got {choice!r})"
            )
        choice = {"scale": "linear", **_mapping(f"'{key}'", choice, ("from", "to", "scale"))}
        low, high = choice["from"], choice["to"]
        numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (low, high))
        if not numbers or not low < high or choice["scale"] not in ("linear", "log"):
            raise ValueError(
                f"'{key}' needs two numbers, the smaller one first, and a scale 'linear' or 'log' "
                f"(got {choice})"
            )
        if choice["scale"] == "log" and low <= 0:
            raise ValueError(f"'{key}' needs numbers above 0 on a log scale (got {low})")
        space[key] = choice
    return space


def _extremes(space: Space) -> list[dict[str, dict[str, Any]]]:
    """Return the given settings, and each value or bound of each that is searched."""
    found: list[dict[str, dict[str, Any]]] = [{"settings": {}, "training": {}}]
    for key, choice in space.items():
        part, _, name = key.partition(".")
        bounds = (choice["from"], choice["to"]) if isinstance(choice, Mapping) else choice
        found += [{"settings": {}, "training": {}, part: {name: value}} for value in bounds]
    return found


def _part(where: str, values: Any) -> dict[str, Any]:
    """Return a part of a plan that may be left out, with names that are its author's."""
    values = {} if values is None else _mapping(where, values)
    return {str(key): value for key, value in values.items()}


def _mapping(where: str, values: Any, known: tuple[str, ...] | None = None) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ValueError(f"{where} needs to be a mapping (got a {type(values).__name__})")
    if known is not None and (unknown := sorted(map(str, set(values).difference(known)))):
        raise ValueError(f"{where} has {unknown}, but only {list(known)} are known")
    return values
