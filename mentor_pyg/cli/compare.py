"""``mentor-pyg compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mentor_pyg.cli.search import add_arguments as add_plan_arguments
from mentor_pyg.dependencies import require

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from mentor_pyg.experiments import Plan

__all__ = ["add_arguments", "compare_and_report", "run"]


def run(config: Path, out: Path, only: list[str], page: Path | None) -> None:
    """Train a plan's models on its datasets with its seeds, and write a report with tests.

    The same command goes on where it stopped; several at once share the work. The report is of all
    cells that are there, also of those that were trained before.
    """
    from mentor_pyg.experiments import read_plan

    compare_and_report(read_plan(config), only, out, baselines=not only, page=page)


def compare_and_report(
    plan: Plan,
    only: list[str],
    out: Path,
    *,
    baselines: bool,
    name: str = "report",
    page: Path | None = None,
) -> None:
    """Train a plan's models and write its report, also where some of the cells have failed.

    Raises:
        MissingPackageError: If a package of the report is not installed; before any training.
        ValueError: If some cells have failed.
    """
    from mentor_pyg.experiments import compare, write_report

    for package in ("pyarrow", "matplotlib"):
        require(package, extra="experiments", purpose="A report")
    cells = compare(plan.only(only), out, baselines=baselines)
    for path in write_report(plan, out, name, page):
        print(f"written to {path}")
    results = [cell.result for cell in cells]
    if missing := results.count(None):
        print(f"{missing} cells are with other processes; run the same again for the whole report")
    if failed := sum(result is not None and "error" in result for result in results):
        raise ValueError(f"{failed} of {len(results)} cells failed; the report has them")


def add_arguments(parser: ArgumentParser, words: list[str]) -> None:
    """Add the arguments."""
    add_plan_arguments(parser, words)
    parser.add_argument(
        "--page",
        type=Path,
        metavar="FILE",
        help="also write the report there, as Markdown without figures",
    )
