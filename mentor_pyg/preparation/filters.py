"""Which interactions are kept, and how many each step drops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["FilterStep", "keep_complete", "keep_core", "keep_first", "keep_rated", "measure"]


@dataclass(frozen=True)
class FilterStep:
    """What is left after a step."""

    name: str
    interactions: int
    users: int | None
    items: int | None


def measure(connection: DuckDBPyConnection, name: str, table: str = "kept") -> FilterStep:
    """Count what a table of interactions holds."""
    row = connection.execute(
        f"SELECT count(*), (SELECT count(*) FROM (SELECT DISTINCT user FROM {table})), "
        f"(SELECT count(*) FROM (SELECT DISTINCT item FROM {table})) FROM {table}"
    ).fetchone()
    assert row is not None
    return FilterStep(name, *row)


def keep_complete(connection: DuckDBPyConnection) -> None:
    """Make the tables ``kept``, ``all_users`` and ``all_items`` of ``raw``, which goes away.

    Rows without user or item are dropped. ``kept`` goes by numbers, which are those of the ids in
    order: integers by value, then others by their characters.
    """
    for side in ("user", "item"):
        connection.execute(
            f"CREATE TABLE all_{side}s AS SELECT (row_number() OVER (ORDER BY "
            f"TRY_CAST(id AS BIGINT) NULLS LAST, id) - 1)::INTEGER AS number, id "
            f"FROM (SELECT DISTINCT {side} AS id FROM raw WHERE user IS NOT NULL "
            f"AND item IS NOT NULL)"
        )
    connection.execute(
        "CREATE TABLE kept AS SELECT u.number AS user, i.number AS item, rating, time FROM raw "
        "JOIN all_users u ON raw.user = u.id JOIN all_items i ON raw.item = i.id"
    )
    connection.execute("DROP TABLE raw")


def keep_rated(connection: DuckDBPyConnection, least: float) -> None:
    """Drop interactions rated below ``least``, or not at all."""
    connection.execute(f"DELETE FROM kept WHERE rating IS NULL OR rating < {float(least)}")


def keep_first(connection: DuckDBPyConnection) -> None:
    """Keep of every user and item the first interaction, of equal times the best rated."""
    connection.execute(
        "CREATE TABLE once AS SELECT * FROM kept QUALIFY row_number() OVER ("
        "PARTITION BY user, item ORDER BY time NULLS LAST, rating DESC NULLS LAST) = 1"
    )
    connection.execute("DROP TABLE kept; ALTER TABLE once RENAME TO kept")


def keep_core(connection: DuckDBPyConnection, core: int) -> int:
    """Keep the users and items that have at least ``core`` interactions with each other.

    Returns:
        The number of rounds until nothing changed.
    """
    rounds = 0
    while True:
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE few AS "
            f"SELECT user AS number, true AS is_user FROM kept GROUP BY user "
            f"HAVING count(*) < {core} UNION ALL "
            f"SELECT item, false FROM kept GROUP BY item HAVING count(*) < {core}"
        )
        if connection.execute("SELECT 1 FROM few LIMIT 1").fetchone() is None:
            connection.execute("DROP TABLE few")
            return rounds
        connection.execute(
            "CREATE TABLE core AS SELECT * FROM kept "
            "ANTI JOIN (SELECT number AS user FROM few WHERE is_user) USING (user) "
            "ANTI JOIN (SELECT number AS item FROM few WHERE NOT is_user) USING (item)"
        )
        connection.execute("DROP TABLE kept; ALTER TABLE core RENAME TO kept")
        rounds += 1
