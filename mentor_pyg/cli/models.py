"""``mentor-pyg models``."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import textwrap
from typing import TYPE_CHECKING

from mentor_pyg.cli.settings import described, plain_text, settings_of
from mentor_pyg.cli.shipped import config_names

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from mentor_pyg.models import Model

__all__ = ["add_arguments", "run"]

_LINK = re.compile(r'`"?([^`<"]+?)"?\s*<(https?://[^>]+)>`_')


def run(name: str | None) -> None:
    """List the models and the shipped configs; or the settings of one model, and its paper."""
    from mentor_pyg.models import MODELS
    from mentor_pyg.models.registry import find_model

    for known, model in sorted(MODELS.items()) if name is None else ():
        print(known)
        _print_below(_first_sentence(model))
        _print_below(_configs_of(known))
        _print_below(f"new users: {model.new_users()}")
    if name is None:
        return
    model = find_model(name)
    print(f"{name}: {_first_sentence(model)}")
    for title, address in _LINK.findall(inspect.getdoc(model) or ""):
        print(f"{' '.join(title.split())}: {address}")
    print(_configs_of(name))
    print(f"new users: {model.new_users()}\n")
    for setting in settings_of(model.Config):
        print(f"{setting.name} = {json.dumps(setting.default)}  ({described(setting.type)})")
        _print_below(setting.doc)


def _configs_of(model: str) -> str:
    names = [name for name in config_names() if name.rpartition("-")[0] == model]
    return f"shipped configs: {' '.join(names) or 'none'}"


def _first_sentence(model: type[Model]) -> str:
    return plain_text((inspect.getdoc(model) or "").partition("\n\n")[0])


def _print_below(text: str) -> None:
    width = shutil.get_terminal_size().columns
    print(textwrap.indent(textwrap.fill(text, width - 4), "    "))


def add_arguments(parser: ArgumentParser, words: list[str]) -> None:
    """Add the arguments."""
    name = parser.add_argument("name", nargs="?", type=str, metavar="NAME", help="the model")
    name.completer = _names


def _names(**_: object) -> list[str]:
    from mentor_pyg.models import MODELS

    return sorted(MODELS)
