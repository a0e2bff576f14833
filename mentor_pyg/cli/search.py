"""``mentor-pyg search``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

__all__ = ["add_arguments", "run"]


def run(config: Path, out: Path, only: list[str]) -> None:
    """Search the settings of a plan's models on validation, the same number of trials for each.

    The same command goes on where it stopped; several at once share the work.
    """
    from mentor_pyg.experiments import read_plan, search
    from mentor_pyg.experiments.tables import longest_recall

    plan = read_plan(config).only(only)
    if not any(entry.space for entry in plan.models.values()):
        raise ValueError(f"{config}: no model has a 'search', such as {{settings.k: [5, 10, 20]}}")
    for (data, label), chosen in search(plan, out).items():
        key = longest_recall(chosen["val"])
        score = chosen["val"][key]
        print(f"{label} on {data}: {chosen['settings']} {chosen['training']}, {key} {score:.4f}")


def add_arguments(parser: ArgumentParser, words: list[str]) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="the plan, a YAML file"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the folder of the comparison"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="LABEL",
        help="models of the plan to take up, with their variants; by default all",
    )
