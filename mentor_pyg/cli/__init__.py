"""The command ``mentor-pyg``, a file per subcommand, and functions of your own as commands."""

from mentor_pyg.cli.console import new_folder, run_command, summarize
from mentor_pyg.cli.train import run_training

__all__ = ["new_folder", "run_command", "run_training", "summarize"]
