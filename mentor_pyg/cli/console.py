"""What commands share: errors as one line, and results as a table."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mentor_pyg.dependencies import UnavailableError, require

__all__ = ["new_folder", "run_command", "summarize"]


def run_command(main: Callable[..., Any], args: Sequence[str] | None = None) -> None:
    """Run a function as a command, whose options are the function's parameters.

    Args:
        main: The function; its docstring becomes the help.
        args: The arguments; by default those of the process.

    Raises:
        ImportError: If jsonargparse is not installed.
        SystemExit: With status 2 if an argument or an input is wrong, and what is wrong goes to
            stderr as one line; with status 130 after Ctrl+C.
    """
    auto_cli = require("jsonargparse", extra="train", purpose="A command line").auto_cli
    try:
        auto_cli(main, args=None if args is None else list(args), as_positional=False)
    except (ValueError, OSError, FloatingPointError, UnavailableError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt as error:
        raise SystemExit(130) from error


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
    lines = [
        f"best epoch {metrics['best_epoch']}, chosen on validation, "
        f"after {metrics['seconds']:.0f} s; written to {out}",
        f"{'':12}{'val':>8}{'test':>8}",
    ]
    lines += [f"{key:12}{metrics['val'][key]:8.4f}{metrics['test'][key]:8.4f}" for key in keys]
    return "\n".join(lines)
