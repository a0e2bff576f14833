"""``mentor-pyg compare``."""

from __future__ import annotations

from pathlib import Path

from mentor_pyg.cli.search import add_arguments

__all__ = ["add_arguments", "run"]


def run(config: Path, out: Path) -> None:
    """Train a plan's models on its datasets with its seeds, and write a report with tests.

    The same command goes on where it stopped; several at once share the work.
    """
    from mentor_pyg.experiments import compare, read_plan, write_report

    plan = read_plan(config)
    cells = compare(plan, out)
    for path in write_report(plan, out):
        print(f"written to {path}")
    results = [cell.result for cell in cells]
    failed = sum(result is not None and "error" in result for result in results)
    if missing := results.count(None):
        print(f"{missing} cells are with other processes; run the same again for the whole report")
    if failed:
        raise ValueError(f"{failed} of {len(cells)} cells failed; the report has them")
