"""``mentor-pyg evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mentor_pyg.cli.trained import open_run

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

__all__ = ["add_arguments", "run"]


def run(run: Path, data: Path | None, split: Literal["val", "test"], k: str, metrics: str) -> None:
    """Rank a split by the model of a run folder.

    Items that users interacted with in training are left out, and so are users without any.
    """
    lengths = [_integer(part) for part in k.split(",")]
    scorer, dataset = open_run(run, data)
    from mentor_pyg.evaluation import full_ranking

    found = full_ranking(scorer, dataset, split, lengths, metrics=metrics.split(","))
    for key, value in found.items():
        print(f"{key:14}{value:.4f}")


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"'k' needs integers, such as 10,20 (got {text!r})") from None


def add_arguments(parser: ArgumentParser, words: list[str]) -> None:
    """Add the arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the run folder")
    parser.add_argument(
        "--data", type=Path | None, metavar="DIR", help="the data folder; else the one of the run"
    )
    parser.add_argument(
        "--split", choices=["val", "test"], default="test", help="which split [test]"
    )
    parser.add_argument(
        "--k", type=str, default="10,20", metavar="K,...", help="lengths of ranking [10,20]"
    )
    parser.add_argument(
        "--metrics",
        type=str,
        default="recall,ndcg",
        metavar="NAME,...",
        help="among recall, ndcg, precision and map [recall,ndcg]",
    )
