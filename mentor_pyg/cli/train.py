"""``mentor-pyg train``."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mentor_pyg.cli.console import new_folder, summarize
from mentor_pyg.cli.settings import settings_of
from mentor_pyg.cli.shipped import config_file, config_names
from mentor_pyg.dependencies import require
from mentor_pyg.yaml_files import read_yaml

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from mentor_pyg.config import Config

__all__ = ["add_arguments", "run", "run_training"]

_PARTS: dict[str, tuple[Any, str]] = {
    "model": (str, "a name"),
    "refit": (bool, "true or false"),
    "settings": (dict | None, "a mapping"),
    "training": (dict | None, "a mapping"),
}
"""Per part of a YAML file what it has to be."""


def run(
    model: str,
    data: Path | None,
    out: Path | None,
    refit: bool,
    training: dict[str, Any],
    settings: dict[str, Any] | None = None,  # A model may have none.
    config: object = None,
) -> None:
    """Train a model, choose its epoch on validation and report it on test.

    The same command with --out goes on where an interrupted run stopped.
    """
    run_training(model, data, out, settings, training, refit=refit)


def run_training(
    model: str,
    data: Path | None = None,
    out: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    *,
    refit: bool = False,
    usual: Path | None = None,
) -> None:
    """Train a model, and say on stdout on what data, how it goes and what came of it.

    Args:
        model: The model's name.
        data: The data folder.
        out: The output folder; by default a new one in ``runs``.
        settings: The model's settings.
        training: The run's settings.
        refit: Whether to train a second model afterwards, on all interactions.
        usual: The data folder that is taken, if it exists, where none is given; without it the
            built-in synthetic set is.

    Raises:
        ValueError: As :func:`mentor_pyg.training.train` does, and likewise its other errors.
    """
    from mentor_pyg.datasets.sources import SYNTHETIC, read_source
    from mentor_pyg.models.registry import find_model
    from mentor_pyg.training import TrainingConfig, train

    config = TrainingConfig.from_dict(training or {})
    find_model(model).Config.from_dict(settings or {})  # Refused before anything is read.
    if data is None and usual is not None and usual.exists():
        data = usual
    if data is None:
        absent = "" if usual is None else f" and no {usual} here"
        print(
            f"No --data given{absent}: training on the built-in SYNTHETIC set.\n"
            f"Its numbers say that the code runs; they mean nothing beyond that."
        )
    else:
        print(f"Reading {data}")
    source = SYNTHETIC if data is None else str(data.expanduser().resolve())
    dataset = read_source(source)
    folder = out or new_folder("runs", model)
    try:
        metrics = train(
            model, dataset, folder, settings=settings, config=config, refit=refit, source=source
        )
    finally:
        if out is None:
            with suppress(OSError):
                folder.rmdir()  # It is empty where nothing came of it.
    print(summarize(metrics, folder))


def add_arguments(parser: ArgumentParser, words: list[str]) -> None:
    """Add the arguments, with the settings of the model that is asked for."""
    from mentor_pyg.models import MODELS
    from mentor_pyg.models.registry import find_model
    from mentor_pyg.training import TrainingConfig

    base: Any = require("jsonargparse", extra="train", purpose="The command").ActionConfigFile

    class ConfigFile(base):
        """A YAML file, or a shipped one by its name."""

        def __call__(self, parser: Any, cfg: Any, values: Any, option_string: Any = None) -> None:
            super().__call__(parser, cfg, str(config_file(values)), option_string)

        def completer(self, prefix: str, **kwargs: Any) -> list[str]:
            return [*config_names(), *super().completer(prefix, **kwargs)]

    # With help or a completion asked for, not everything is there yet.
    is_draft = "_ARGCOMPLETE" in os.environ or not {"-h", "--help"}.isdisjoint(words)
    written = _written(words, is_draft)
    names = [*(one["model"] for one in written if "model" in one), *_values(words, "--model")]
    model = MODELS.get(names[-1]) if names else None
    if not is_draft:
        model = find_model(names[-1] if names else "")
        _refuse_unknown("settings", model.Config, words, written)
        _refuse_unknown("training", TrainingConfig, words, written)

    parser.add_argument(
        "--config",
        action=ConfigFile,
        metavar="FILE",
        help="a YAML file of these options, or the name of a shipped one (see `mentor-pyg models`)",
    )
    for action in parser._actions:
        if "--print_config" in action.option_strings:
            action.help, action.metavar = "print all options as such a file, and exit", "\b"
    name = parser.add_argument("--model", type=str, help=f"one of {', '.join(sorted(MODELS))}")
    name.completer = lambda **_: sorted(MODELS)
    parser.add_argument(
        "--data", type=Path | None, metavar="DIR", help="the data folder; else a synthetic set"
    )
    parser.add_argument(
        "--out", type=Path | None, metavar="DIR", help="the run folder; else a new one in runs/"
    )
    parser.add_argument(
        "--refit",
        action="store_true",
        help="train again afterwards, on the interactions of all splits, in OUT/refit",
    )
    _add_settings(parser, "training", TrainingConfig)
    if model is None:
        text = "a setting of the model; `mentor-pyg models NAME` lists them"
        parser.add_argument("--settings.NAME", metavar="VALUE", help=text)
    else:
        _add_settings(parser, "settings", model.Config)


def _add_settings(parser: ArgumentParser, part: str, config: type[Config]) -> None:
    """Add a typed option for each setting."""
    group = parser.add_argument_group(f"{part} ({config.__name__})")
    for setting in settings_of(config):
        first = setting.doc.replace("%", "%%").partition(". ")[0].rstrip(".")
        action = group.add_argument(
            f"--{part}.{setting.name}",
            type=setting.type,
            default=setting.default,
            metavar="VALUE",
            help=f"{first} [{setting.default}]",
        )
        action.completer = setting.completer


def _refuse_unknown(
    part: str, config: type[Config], words: list[str], written: list[dict[str, Any]]
) -> None:
    """Refuse settings that are none, which the parser would without saying which there are."""
    start = f"--{part}."
    given = {re.split("[.=]", w.removeprefix(start))[0] for w in words if w.startswith(start)}
    given.update(*(one.get(part) or () for one in written))
    config.from_dict(dict.fromkeys(given.difference(f.name for f in dataclasses.fields(config))))


def _values(words: list[str], option: str) -> list[str]:
    """Return what an option is given, every time that it is."""
    joined = [word.partition("=")[2] for word in words if word.startswith(f"{option}=")]
    return joined + [value for word, value in pairwise(words) if word == option]


def _written(words: list[str], is_draft: bool) -> list[dict[str, Any]]:
    """Return what the YAML files among the arguments hold."""
    found: list[dict[str, Any]] = []
    for name in _values(words, "--config"):
        try:
            values = read_yaml(config_file(name))
        except OSError:
            if is_draft:
                continue
            raise
        if not isinstance(values, dict):
            kind = type(values).__name__
            raise ValueError(f"{name} needs to be a mapping of options (got a {kind})")
        for part, (needed, described) in _PARTS.items():
            if part in values and not isinstance(values[part], needed):
                raise ValueError(f"{name}: '{part}' needs to be {described} (got {values[part]!r})")
        found.append(values)
    return found
