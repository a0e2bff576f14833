"""``mentor-pyg ablate``."""

from __future__ import annotations

from pathlib import Path

from mentor_pyg.cli.compare import compare_and_report
from mentor_pyg.cli.search import add_arguments

__all__ = ["add_arguments", "run"]


def run(config: Path, out: Path, only: list[str]) -> None:
    """Train the models of a plan that have variants, and these, and report what each part brings.

    The cells are those of compare, and are shared with it.
    """
    from mentor_pyg.experiments import read_plan

    plan = read_plan(config).ablation()
    compare_and_report(plan, only, out, baselines=False, name="ablation")
