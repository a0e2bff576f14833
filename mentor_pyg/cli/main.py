"""The command ``mentor-pyg``: finds the subcommand, and runs it with its arguments."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, get_origin

from mentor_pyg.cli.console import reported
from mentor_pyg.dependencies import require
from mentor_pyg.version import __version__

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

__all__ = ["COMMANDS", "main"]


class _Command(NamedTuple):
    needs: str
    """What it cannot do without, as its usage has it."""
    help: str


COMMANDS = {
    "train": _Command(
        "--model NAME", "train a model, choose its epoch on validation, report it on test"
    ),
    "evaluate": _Command("RUN", "rank a split by the model of a run folder"),
    "recommend": _Command("RUN (--user ID ... | --all)", "write the best items for users"),
    "export": _Command("RUN --out DIR", "write a folder with all that serving a run's model needs"),
    "serve": _Command("EXPORT", "serve an export over HTTP, with a web page"),
    "search": _Command(
        "--config FILE --out DIR", "search the settings of a plan's models on validation"
    ),
    "compare": _Command(
        "--config FILE --out DIR",
        "train a plan's models with several seeds, and write a report with tests",
    ),
    "ablate": _Command(
        "--config FILE --out DIR", "the same for a plan's models with variants alone"
    ),
    "models": _Command("[NAME]", "list the models and shipped configs, or the settings of one"),
    "features": _Command(
        "KIND DIR", "make item features of texts, images, sounds, columns or an array"
    ),
    "prepare": _Command("FILE ... --out DIR", "make a data folder of raw interaction files"),
    "data": _Command("DIR", "say what a data folder holds, and what is wrong with it"),
}
"""The subcommands; each is in the module of its name, as ``add_arguments`` and ``run``."""

_MORE = (
    "`mentor-pyg COMMAND --help` has the options. `--import MODULE` with any of them imports a "
    "module of yours first, which registers a model. Completion in bash and zsh: install the extra "
    '"completion" and add eval "$(register-python-argcomplete mentor-pyg)" to your shell\'s start.'
)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        args: The arguments; by default those of the process.

    Raises:
        SystemExit: As :func:`~mentor_pyg.cli.console.reported` says; with status 143 after SIGTERM.
    """
    with reported():
        words = _without_imports(_words(args))
        chosen = words[0] if words else ""
        parser, parsers = _parsers(words)
        if "_ARGCOMPLETE" in os.environ and chosen in COMMANDS:
            # As a program of its own, since jsonargparse completes no options of subcommands.
            os.environ["_ARGCOMPLETE"] = "2"
            parser = parsers[chosen]
            for action in parser._actions:
                _complete(action)
        try:
            values = parser.parse_args(words)[chosen].as_dict()
        except argparse.ArgumentError as error:
            command = f"mentor-pyg {chosen}" if chosen in COMMANDS else "mentor-pyg"
            raise ValueError(f"{_plain(str(error)).rstrip('.')}; see `{command} --help`") from error
        importlib.import_module(f"mentor_pyg.cli.{chosen}").run(**values)


def _complete(action: Any) -> None:
    """Let an argument offer the values that it has, or files where it is a path.

    By itself jsonargparse offers nothing for most of them, and fails where it does not.
    """
    if "completer" in vars(action) or not hasattr(action, "completer"):
        return  # It has its own, or none.
    known, hint = action.completer, getattr(action, "_typehint", None)
    values = _literals(hint)
    files: Any = require("argcomplete.completers", extra="completion", purpose="Completion")
    offer = files.FilesCompleter() if "Path" in str(hint) else lambda **_: values
    action.completer = lambda **given: known(**given) or offer(**given)


def _literals(hint: Any) -> list[str]:
    if get_origin(hint) is Literal:
        return list(map(str, get_args(hint)))
    return [value for part in get_args(hint) for value in _literals(part)]


def _plain(message: str) -> str:
    """Return what jsonargparse says of a value, without its Python."""
    message = re.sub(r'Parser key "([\w.]+)":', r"'\1':", message)
    message = re.sub(r"<class '([\w.]+)'>", r"\1", message)
    message = re.sub(  # Of an option that may be left out.
        r"Does not validate against any of the Union subtypes\s+Subtypes: \[(.*?), NoneType\]\s+"
        r"Errors:.*Given value: ",
        r"Expected a \1. Got value: ",
        message,
        flags=re.DOTALL,
    )
    message = re.sub(r"Expected a typing\.Literal\[(.*?)\]", r"Expected one of \1", message)
    return re.sub(r"Expected a (?=[aeiou])", "Expected an ", message)


def _words(args: Sequence[str] | None) -> list[str]:
    """Return the arguments; where a shell asks for completions, those before the cursor."""
    if args is None and "_ARGCOMPLETE" in os.environ:
        return f"{os.environ['COMP_LINE']}|".split()[1:-1]
    return list(sys.argv[1:] if args is None else args)


def _without_imports(words: list[str]) -> list[str]:
    """Import the modules that ``--import`` names, and return the other arguments."""
    option = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    option.add_argument("--import", dest="modules", action="append", default=[])
    found, others = option.parse_known_args(words)
    for name in found.modules:
        if "" not in sys.path:  # The command's own path begins with where it is installed.
            sys.path.insert(0, "")
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ValueError(
                f"'import' needs the name of a module in this folder, or of an installed one "
                f"(got {name!r}: {error})"
            ) from error
    return others


def _parsers(words: list[str]) -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    """Return the parser and those of the subcommands; only the one in hand has its arguments.

    The others' would cost imports.
    """
    jsonargparse = require("jsonargparse", extra="train", purpose="The command mentor-pyg")
    make = partial(
        jsonargparse.ArgumentParser,
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=partial(argparse.HelpFormatter, max_help_position=32),
    )
    parser: ArgumentParser = make(
        prog="mentor-pyg",
        usage="mentor-pyg COMMAND ...",
        version=__version__,
        description="Multimodal recommendation on PyTorch Geometric.",
        epilog=_MORE,
    )
    commands = parser.add_subcommands(metavar="COMMAND ...", title="commands", description=None)
    parsers = {}
    for name, command in COMMANDS.items():
        below = parsers[name] = make(usage=f"mentor-pyg {name} {command.needs} [options]")
        if name in words[:1]:
            module = importlib.import_module(f"mentor_pyg.cli.{name}")
            below.description = inspect.getdoc(module.run)
            module.add_arguments(below, words)
        commands.add_subcommand(name, below, help=command.help)
    return parser, parsers
