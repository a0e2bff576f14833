"""``mentor-pyg recommend``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mentor_pyg.cli.tables import original_ids, table_writer, write_csv
from mentor_pyg.cli.trained import open_run

if TYPE_CHECKING:
    import pandas as pd
    from jsonargparse import ArgumentParser
    from torch import Tensor
    from torch_geometric.data import HeteroData

    from mentor_pyg.data import Scorer
    from mentor_pyg.graph import ItemLists
    from mentor_pyg.typing import Split

__all__ = ["add_arguments", "run"]

_ROWS = 2**17  # Recommendations at a time.


def run(
    run: Path,
    user: list[str] | None,
    all: bool,
    data: Path | None,
    k: int,
    out: Path | None,
    exclude: str | None,
    force: bool,
) -> None:
    """Write the best items for users: columns user, rank, item and score.

    Users and items go by their original ids where the data have them, else by number from 0.
    A user with fewer than K items left has fewer rows.
    """
    if (user is None) is not all:
        raise ValueError("'recommend' needs users: either --user ID ... or --all")
    write = partial(write_csv, sys.stdout) if out is None else table_writer(out, force, "out")
    scorer, dataset = open_run(run, data)
    from mentor_pyg.ops import seen_items

    splits = None if exclude is None else cast("list[Split]", [s for s in exclude.split(",") if s])
    seen = seen_items(dataset, splits)
    write(_blocks(scorer, dataset, _users(user, dataset), k, seen))


def _users(user: list[str] | None, data: HeteroData) -> Tensor:
    import torch

    from mentor_pyg.data import USER, num_users
    from mentor_pyg.ops import user_ids

    count, raw_id = num_users(data), data[USER].get("raw_id")
    if user is None:
        return torch.arange(count)
    if raw_id is not None:
        return user_ids(user, count, raw_id)
    if strange := [one for one in user if not one.isdecimal()]:
        raise ValueError(f"'user' needs numbers from 0 to {count - 1} (got {strange[0]!r})")
    return user_ids([int(one) for one in user], count)


def _blocks(
    scorer: Scorer, data: HeteroData, user: Tensor, k: int, seen: ItemLists
) -> Iterator[pd.DataFrame]:
    """Yield the recommendations for some users at a time, so that memory stays bounded."""
    from mentor_pyg.export.tables import list_frame
    from mentor_pyg.ops import recommend_items

    names = original_ids(data)
    for some in user.split(max(1, _ROWS // max(k, 1))):
        yield list_frame(some, *recommend_items(scorer, some, k, seen), names)


def add_arguments(parser: ArgumentParser, words: list[str]) -> None:
    """Add the arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the run folder")
    parser.add_argument("--user", nargs="+", type=str, metavar="ID", help="for these users")
    parser.add_argument("--all", action="store_true", help="for all users")
    parser.add_argument(
        "--data", type=Path | None, metavar="DIR", help="the data folder; else the one of the run"
    )
    parser.add_argument("--k", type=int, default=10, help="the number of items [10]")
    parser.add_argument(
        "--out",
        type=Path | None,
        metavar="FILE",
        help='a .csv file, or a .parquet file (extra "parquet"); else CSV goes to stdout',
    )
    parser.add_argument(
        "--exclude",
        type=str | None,
        metavar="SPLIT,...",
        help="whose items to leave out; else those of all splits that the data have",
    )
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
