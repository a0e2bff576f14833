"""``mentor-pyg prepare``."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

__all__ = ["add_arguments", "run"]


def run(
    files: list[str],
    out: Path,
    columns: str | None,
    features: list[str],
    force: bool,
    **options: Any,
) -> None:
    """Make a data folder of raw interaction files: CSV, TSV, JSON Lines, Parquet, .gz and .zst.

    Columns are guessed by their usual names, and shown. card.html in the folder has all counts.
    """
    from mentor_pyg.preparation import Preparation, prepare

    given = [_feature(one) for one in features]
    for modality, number in Counter(modality for modality, _ in given).items():
        if number > 1:
            raise ValueError(f"'features' names {modality!r} {number} times; give one file of it")
    settings = Preparation(
        columns=None if columns is None else tuple(map(str.strip, columns.split(","))),
        features=dict(given),
        **{name: value for name, value in options.items() if value is not None},
    )
    prepared = prepare(files, out, settings, force=force, say=print)
    where = shlex.quote(str(out))
    print(f"written to {prepared.folder}; see card.md, or train with --data {where}")


def _feature(text: str) -> tuple[str, str]:
    modality, _, path = text.partition("=")
    if not modality or not path:
        raise ValueError(f"'features' needs NAME=FILE, as text=vectors.npy (got {text!r})")
    return modality, path


def add_arguments(parser: ArgumentParser, words: list[str]) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add("files", nargs="+", type=str, metavar="FILE", help="files, or globs in quotes")
    add("--out", type=Path, required=True, metavar="DIR", help="the folder to make")
    add("--name", type=str | None, help="the name of the dataset; else that of the folder")
    for role in ("user", "item", "rating", "time"):
        add(f"--{role}", type=str | None, metavar="COLUMN", help=f"the column of the {role}")
    add(
        "--time-format",
        type=str | None,
        metavar="FORMAT",
        help="of times, as '%%d.%%m.%%Y %%H:%%M'; else numbers, or dates as 2024-05-01 12:30",
    )
    add("--decimal-comma", action="store_true", help="ratings may be 3,5")
    add("--columns", type=str | None, metavar="NAME,...", help="all columns, if there's no header")
    add("--items", type=str | None, metavar="FILE", help="ids, titles, descriptions, images, links")
    add(
        "--features",
        action="append",
        default=[],
        type=str,
        metavar="NAME=FILE",
        help="a .npy array with the rows of --items, or Amazon's .b of 2014",
    )
    add("--min-rating", type=float | None, metavar="R", help="keep what is rated R or better")
    add("--core", type=int, default=1, metavar="K", help="K interactions per user and item [1]")
    splits = "random, leave-one-out, temporal, global-temporal or cold-items [random]"
    add("--split", type=str, default="random", metavar="NAME", help=splits)
    add("--val-ratio", type=float, default=0.1, metavar="SHARE", help="for validation [0.1]")
    add("--test-ratio", type=float, default=0.1, metavar="SHARE", help="for test [0.1]")
    add("--seed", type=int, default=0, help="of what the split draws [0]")
    add("--max-errors", type=int, default=0, metavar="N", help="malformed lines to leave out [0]")
    add("--memory", type=str, default="2GiB", metavar="SIZE", help="for the database [2GiB]")
    add("--threads", type=int | None, metavar="N", help="else one a core")
    add("--force", action="store_true", help="replace the folder if it exists")
