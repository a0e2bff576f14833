"""Interactions -> train (0), validation (1) and test (2), the same whatever order they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mentor_pyg.preparation.database import count

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["SPLITS", "SplitName", "split_interactions"]

SplitName = Literal["random", "leave-one-out", "temporal", "global-temporal", "cold-items"]

SPLITS: dict[SplitName, str] = {
    "random": "of every user's interactions, drawn at random",
    "leave-one-out": "every user's last interaction is test, the one before validation",
    "temporal": "of every user's interactions, the last by time",
    "global-temporal": "of all interactions, the last by time",
    "cold-items": "all interactions of items drawn at random",
}
"""What is validation and test, by the split's name."""


def split_interactions(
    connection: DuckDBPyConnection,
    split: SplitName,
    val_ratio: float = 0.1,
    test_ratio: float = 0.1,
    seed: int = 0,
) -> None:
    """Make the table ``labelled`` (user, item, rating, time, label) of ``numbered``.

    Draws go by hashes of the seed and the numbers of users and items. Of a user's ``n``
    interactions ``floor(n * ratio)`` go to validation and test each, but at least one where
    ``n >= 3``, as :class:`~mentor_pyg.transforms.RandomInteractionSplit` has it; everyone keeps
    one for train. A user needs three for leave-one-out. At a boundary of global time,
    interactions of the same time stay together.

    Args:
        connection: The database.
        split: The name of the split.
        val_ratio: The share for validation; of items for ``"cold-items"``.
        test_ratio: The share for test, likewise.
        seed: Equal seeds give equal splits.

    Raises:
        ValueError: If a split is by time and some interactions have none, or if validation or
            test would be empty.
    """
    by_time = split in ("leave-one-out", "temporal", "global-temporal")
    if by_time and (lacking := count(connection, "SELECT count(*) - count(time) FROM numbered")):
        raise ValueError(
            f"the split {split!r} needs the time of every interaction ({lacking:,} have none); "
            f"name its column with --time, or choose another split"
        )
    if split == "cold-items":
        query = _cold_items(val_ratio, test_ratio, seed)
    elif split == "global-temporal":
        query = _global(connection, val_ratio, test_ratio)
    else:
        query = _per_user(split, val_ratio, test_ratio, seed)
    connection.execute(f"CREATE TABLE labelled AS {query}")
    connection.execute("DROP TABLE numbered")
    _refuse_empty(connection, split)


def _refuse_empty(connection: DuckDBPyConnection, split: str) -> None:
    for label, name in enumerate(("train", "validation", "test")):
        if not count(connection, f"SELECT count(*) FROM labelled WHERE label = {label}"):
            raise ValueError(
                f"the split {split!r} leaves no {name} interactions; change the ratios, filter "
                f"less, or choose another split"
            )


def _draw(seed: int, *columns: str) -> str:
    return f"md5_number_lower(concat_ws(':', {int(seed)}, {', '.join(columns)}))"


def _share(ratio: float) -> str:
    # Such a number is a decimal to DuckDB, here and below: 50 * 0.58 is 29, and not 28.999...
    return f"greatest(floor(n * {float(ratio)!r}), (n >= 3)::INTEGER)"


def _per_user(split: SplitName, val_ratio: float, test_ratio: float, seed: int) -> str:
    if split == "leave-one-out":
        num_val = num_test = "(n >= 3)::INTEGER"
    else:
        num_test = f"least({_share(test_ratio)}, n - 1)"
        num_val = f"least({_share(val_ratio)}, n - 1 - {num_test})"
    draw = f"{_draw(seed, 'user', 'item')}, item"
    order = draw if split == "random" else f"time DESC, {draw}"
    return (
        f"SELECT user, item, rating, time, CASE WHEN place <= {num_test} THEN 2 "
        f"WHEN place <= {num_test} + {num_val} THEN 1 ELSE 0 END AS label FROM ("
        f"SELECT *, row_number() OVER (PARTITION BY user ORDER BY {order}) AS place, "
        f"count(*) OVER (PARTITION BY user) AS n FROM numbered)"
    )


def _global(connection: DuckDBPyConnection, val_ratio: float, test_ratio: float) -> str:
    n = count(connection, "SELECT count(*) FROM numbered")
    starts = [
        count(connection, f"SELECT time FROM numbered ORDER BY time LIMIT 1 OFFSET {place}")
        for place in (
            min(n - 1, int(n * (1 - share) + 1e-9))
            for share in (val_ratio + test_ratio, test_ratio)
        )
    ]
    return (
        f"SELECT *, CASE WHEN time >= {starts[1]!r} THEN 2 WHEN time >= {starts[0]!r} THEN 1 "
        f"ELSE 0 END AS label FROM numbered"
    )


def _cold_items(val_ratio: float, test_ratio: float, seed: int) -> str:
    return (
        f"SELECT numbered.*, CASE WHEN place <= n * {test_ratio} THEN 2 "
        f"WHEN place <= n * ({test_ratio} + {val_ratio}) THEN 1 ELSE 0 END AS label FROM numbered "
        f"JOIN (SELECT number, row_number() OVER (ORDER BY {_draw(seed, 'number')}, number) "
        f"AS place, count(*) OVER () AS n FROM items) ON item = number"
    )
