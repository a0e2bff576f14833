"""Functions as commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from mentor_pyg.dependencies import UnavailableError, require

__all__ = ["run_command"]


def run_command(main: Callable[..., Any], args: Sequence[str] | None = None) -> None:
    """Run a function as a command, whose options are the function's parameters.

    Args:
        main: The function; its docstring becomes the help.
        args: The arguments; by default those of the process.

    Raises:
        ImportError: If jsonargparse is not installed.
        SystemExit: With status 2 if an argument or an input is wrong; what is wrong goes to
            stderr as one line.
    """
    auto_cli = require("jsonargparse", extra="train", purpose="A command line").auto_cli
    try:
        auto_cli(main, args=None if args is None else list(args), as_positional=False)
    except (ValueError, OSError, FloatingPointError, UnavailableError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
