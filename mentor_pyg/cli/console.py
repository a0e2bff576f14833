"""What commands share: errors as one line, and results as a table."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mentor_pyg.dependencies import MissingPackageError, UnavailableError, require
from mentor_pyg.interrupts import terminable

__all__ = ["new_folder", "reported", "run_command", "summarize"]

_OF_INPUT = (
    ValueError,
    OSError,
    FloatingPointError,
    MissingPackageError,
    UnavailableError,
    argparse.ArgumentError,
)


@contextmanager
def reported() -> Iterator[None]:
    """End the process with one line on stderr where an argument or an input is wrong.

    Likewise where a package is missing. Errors of other kinds are bugs, and keep their traceback.

    Raises:
        SystemExit: With status 2 and what is wrong as one line; with status 130 after Ctrl+C,
            143 after SIGTERM; with status 141 and nothing said where nobody reads on, as in
            ``... | head``.
    """
    try:
        with terminable():
            yield
    except BrokenPipeError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to come
        raise SystemExit(141) from error
    except _OF_INPUT as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt as error:
        raise SystemExit(130) from error


def run_command(main: Callable[..., Any], args: Sequence[str] | None = None) -> None:
    """Run a function as a command, whose options are the function's parameters.

    Args:
        main: The function; its docstring becomes the help.
        args: The arguments; by default those of the process.

    Raises:
        MissingPackageError: If jsonargparse is not installed.
        SystemExit: With status 2 and one line on stderr where an argument or an input is wrong;
            with status 130 after Ctrl+C.
    """
    auto_cli = require("jsonargparse", extra="train", purpose="A command line").auto_cli
    given = None if args is None else list(args)
    with reported():
        auto_cli(main, args=given, as_positional=False, exit_on_error=False)


def new_folder(parent: str | Path, name: str) -> Path:
    """Make and return ``parent/name-1``, or the first of ``-2``, ``-3``, ... that is not there.

    The folder is this process's own: others that ask at the same time get other ones.
    """
    for number in itertools.count(1):
        folder = Path(parent) / f"{name}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        break
    return folder


def summarize(metrics: dict[str, Any], out: str | Path) -> str:
    """Return the metrics of :func:`~mentor_pyg.training.train` as a short table.

    Args:
        metrics: What ``train`` returned.
        out: Where it wrote.
    """
    keys = list(metrics["test"])
    epoch = metrics.get("best_epoch")  # A model without epochs has none.
    chosen = f"best epoch {epoch}, chosen on validation, " if epoch else ""
    lines = [
        f"{chosen}after {metrics['seconds']:.0f} s; written to {out}",
        f"{'':12}{'val':>8}{'test':>8}",
    ]
    lines += [f"{key:12}{metrics['val'][key]:8.4f}{metrics['test'][key]:8.4f}" for key in keys]
    return "\n".join(lines)
