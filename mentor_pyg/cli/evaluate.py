"""``mentor-pyg evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mentor_pyg.cli.tables import original_ids, table_writer
from mentor_pyg.cli.trained import open_run

if TYPE_CHECKING:
    import pandas as pd
    from jsonargparse import ArgumentParser
    from torch import Tensor
    from torch_geometric.data import HeteroData

__all__ = ["add_arguments", "run"]


def run(
    run: Path,
    data: Path | None,
    split: Literal["val", "test"],
    k: str,
    metrics: str,
    per_user: Path | None,
    force: bool,
) -> None:
    """Rank a split by the model of a run folder.

    Items that users interacted with in training are left out, and so are users without any. The
    table per user has the metrics that a user has a value of: not coverage, gini, novelty and
    average_popularity, which are of all lists together.
    """
    lengths = [_integer(part) for part in k.split(",")]
    names = [name.strip() for name in metrics.split(",")]
    write = None if per_user is None else table_writer(per_user, force, "per-user")
    scorer, dataset = open_run(run, data)
    if f"{split}_edge_label_index" not in dataset["user", "interacts", "item"]:
        raise ValueError(
            f"{run} holds a refitted model, which has trained on the interactions of {split} too; "
            f"evaluate the run that it is of, {run.absolute().parent}"
        )
    from mentor_pyg.evaluation.ranking import measured

    found, of_users = measured(scorer, dataset, split, lengths, names, per_user=write is not None)
    width = max(14, *(len(key) + 2 for key in found))
    for key, value in found.items():
        print(f"{key:{width}}{value:.4f}")
    if write is not None:
        write(iter([_table(of_users, dataset)]))


def _table(values: dict[str, Tensor], data: HeteroData) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame({key: value.numpy() for key, value in values.items()})
    if (names := original_ids(data).get("user")) is not None:
        frame["user"] = names[frame["user"]]
    return frame


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
        help="among recall, ndcg, precision, map, coverage, gini, novelty and average_popularity "
        "[recall,ndcg]",
    )
    parser.add_argument(
        "--per-user",
        type=Path | None,
        metavar="FILE",
        help='also write every user\'s values to a .csv file, or a .parquet file (extra "parquet")',
    )
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
