"""``mentor-pyg compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mentor_pyg.cli.search import add_arguments

if TYPE_CHECKING:
    from mentor_pyg.experiments import Plan

__all__ = ["add_arguments", "run", "train_and_report"]


def run(config: Path, out: Path) -> None:
    """Train a plan's models on its datasets with its seeds, and write a report with tests.

    The same command goes on where it stopped; several at once share the work.
    """
    from mentor_pyg.experiments import read_plan

    train_and_report(read_plan(config), out)


def train_and_report(
    plan: Plan, out: Path, name: str = "report", *, baselines: bool = True
) -> None:
    """Train the cells of a plan and write the report, also where some have failed.

    Raises:
        ValueError: If some have.
    """
    from mentor_pyg.experiments import compare, write_report

    results = [cell.result for cell in compare(plan, out, baselines=baselines)]
    for path in write_report(plan, out, name):
        print(f"written to {path}")
    if missing := results.count(None):
        print(f"{missing} cells are with other processes; run the same again for the whole report")
    if failed := sum(result is not None and "error" in result for result in results):
        raise ValueError(f"{failed} of {len(results)} cells failed; the report has them")
