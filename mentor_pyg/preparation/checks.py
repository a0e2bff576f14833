"""Whether what was written keeps its promises: read from the file again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mentor_pyg.preparation.database import count, file_literal, literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from mentor_pyg.preparation.splits import SplitName

__all__ = ["Check", "check_written"]


@dataclass(frozen=True)
class Check:
    """A promise, and how often it is broken."""

    promise: str
    broken: int


_TYPES = {"userID": "INTEGER", "itemID": "INTEGER", "x_label": "TINYINT"}
_PAIR = "SELECT 1 FROM written GROUP BY userID, itemID HAVING count(*) > 1"
_SHARED = "SELECT 1 FROM written GROUP BY userID, itemID HAVING min(x_label) <> max(x_label)"
_COLD = "SELECT itemID FROM written GROUP BY itemID HAVING min(x_label) <> max(x_label)"


def check_written(connection: DuckDBPyConnection, path: Path, split: SplitName) -> list[Check]:
    """Check an ``.inter`` file.

    Args:
        connection: A database.
        path: The file.
        split: How it was split.

    Raises:
        RuntimeError: If it breaks a promise, which is a fault of this library.
    """
    with open(path, encoding="utf-8") as file:
        names = file.readline().rstrip("\n").split("\t")
    columns = ", ".join(f"{name}: {literal(_TYPES.get(name, 'DOUBLE'))}" for name in names)
    connection.execute(
        f"CREATE TEMP VIEW written AS FROM read_csv({file_literal(path)}, delim = '\t', "
        f"header = true, auto_detect = false, columns = {{{columns}}})"
    )
    queries = {
        "no interaction is there twice": _PAIR,
        "no interaction is in two splits": _SHARED,
    }
    if split == "cold-items":
        queries["every item is of one split only"] = _COLD
    elif split == "global-temporal":
        queries["train is before validation, and that before test"] = _out_of_order(">=")
    elif split != "random":
        queries["no user's train is after the same user's validation, nor that after test"] = (
            _out_of_order(">", "GROUP BY userID")
        )
    checks = [
        Check(promise, count(connection, f"SELECT count(*) FROM ({query})"))
        for promise, query in queries.items()
    ]
    connection.execute("DROP VIEW written")
    if broken := [check for check in checks if check.broken]:
        raise RuntimeError(f"{path} breaks what the split {split!r} promises: {broken}")
    return checks


def _ends(name: str, label: int) -> str:
    return ", ".join(
        f"{function}(timestamp) FILTER (x_label = {label}) AS {name}_{end}"
        for function, end in (("min", "first"), ("max", "last"))
    )


def _out_of_order(compare: str, group: str = "") -> str:
    ends = ", ".join(_ends(name, label) for label, name in enumerate(("train", "val", "test")))
    return (
        f"SELECT 1 FROM (SELECT {ends} FROM written {group}) WHERE "
        f"train_last {compare} val_first OR train_last {compare} test_first "
        f"OR val_last {compare} test_first"
    )
