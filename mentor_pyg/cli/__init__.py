"""Functions of this library as commands."""

from mentor_pyg.cli.console import new_folder, run_command, summarize

__all__ = ["new_folder", "run_command", "summarize"]
