"""Raw interactions, line by line: what is malformed is counted and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mentor_pyg.preparation.database import file_literal, literal, naming
from mentor_pyg.preparation.sources import Source

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["KNOWN_COLUMNS", "Malformed", "read_interactions", "refuse_malformed", "take_malformed"]

KNOWN_COLUMNS = {
    "user": ("userid", "user_id", "reviewerid", "user", "uid"),
    "item": ("itemid", "item_id", "parent_asin", "asin", "movieid", "item", "iid"),
    "rating": ("rating", "overall", "stars", "score"),
    "time": ("timestamp", "unixreviewtime", "time", "datetime"),
}
"""Per role the usual names, in lower case; Amazon's reviews of 2023 go by ``parent_asin``."""

_SHOWN = 5


@dataclass(frozen=True)
class Malformed:
    """A line that is no interaction."""

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        """Return where it is, and why."""
        return f"{self.path}, line {self.line}: {self.reason}"


def read_interactions(
    connection: DuckDBPyConnection, source: Source, columns: Mapping[str, str]
) -> list[Malformed]:
    """Append a source to the table ``raw`` (user, item, rating, time in seconds).

    Rows without user or item are appended, with nulls. In text files a quoted field may go over
    several lines, which count as one; blank lines of JSON Lines count as none.

    Args:
        connection: The database.
        source: The table.
        columns: The column of ``"user"``, ``"item"`` and, if there are such, ``"rating"`` and
            ``"time"``.

    Returns:
        The malformed lines, which are not appended.

    Raises:
        ValueError: If the file cannot be read.
    """
    with naming(source.path):
        if source.kind == "csv":
            return _read_text(connection, source, columns)
        return _read_typed(connection, source, columns)


def _read_text(
    connection: DuckDBPyConnection, source: Source, columns: Mapping[str, str]
) -> list[Malformed]:
    types = {}
    if "rating" in columns:
        types[columns["rating"]] = "DOUBLE"
    if "time" in columns:
        types[columns["time"]] = _type_of_time(connection, source, columns["time"])
    value = {role: source.column(name) for role, name in columns.items()}
    time = value.get("time", "NULL")
    if types.get(columns.get("time", "")) == "TIMESTAMP":
        time = f"epoch({time})"
    connection.execute(
        f"INSERT INTO raw SELECT {value['user']}, {value['item']}, "
        f"{_finite(value.get('rating', 'NULL'))}, {_seconds(time)} "
        f"FROM {source.text_table(types)}"
    )
    return take_malformed(connection, source.path)


def _type_of_time(connection: DuckDBPyConnection, source: Source, name: str) -> str:
    first = connection.execute(
        f"SELECT TRY_CAST(time AS DOUBLE) IS NULL AND TRY_CAST(time AS TIMESTAMP) IS NOT NULL "
        f"FROM (SELECT {source.column(name)} AS time FROM {source.text_table()}) "
        f"WHERE time IS NOT NULL LIMIT 1"
    ).fetchone()
    connection.execute("DROP TABLE IF EXISTS malformed; DROP TABLE IF EXISTS scans")
    return "TIMESTAMP" if first is not None and first[0] else "DOUBLE"


def take_malformed(connection: DuckDBPyConnection, path: Path) -> list[Malformed]:
    """Return the lines of a text file that did not fit, and forget them."""
    rows = connection.execute(
        "SELECT line, first(error_type || ', ' || left(error_message, 120) ORDER BY column_idx) "
        "FROM malformed GROUP BY line ORDER BY line"
    ).fetchall()
    connection.execute("DROP TABLE malformed; DROP TABLE scans")
    return [Malformed(path, line, " ".join(reason.split()).lower()) for line, reason in rows]


def _read_typed(
    connection: DuckDBPyConnection, source: Source, columns: Mapping[str, str]
) -> list[Malformed]:
    value = {role: source.column(name) for role, name in columns.items()}
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE typed AS SELECT nullif({value['user']}, '') AS u, "
        f"nullif({value['item']}, '') AS i, {_number(value.get('rating'))} AS r, "
        f"{_instant(value.get('time'))} AS t, {_is_malformed(value)} AS malformed "
        f"FROM {source.table(columns.values())}"
    )
    connection.execute("INSERT INTO raw SELECT u, i, r, t FROM typed WHERE NOT malformed")
    anything = connection.execute("SELECT 1 FROM typed WHERE malformed LIMIT 1").fetchone()
    connection.execute("DROP TABLE typed")
    return [] if anything is None else _find_malformed(connection, source, columns)


def _find_malformed(
    connection: DuckDBPyConnection, source: Source, columns: Mapping[str, str]
) -> list[Malformed]:
    """Read the file again, for where the malformed lines are."""
    path = file_literal(source.path)
    value = {role: source.column(name) for role, name in columns.items()}
    if source.kind == "json":
        rows = f"read_json_objects({path}, format = 'newline_delimited', ignore_errors = true)"
        value = {
            role: f"json_extract_string(json, {literal('$.' + _quoted(name))})"
            for role, name in columns.items()
        }
    else:
        rows = f"read_parquet({path})"
    found = connection.execute(
        f"SELECT line, reason FROM (SELECT row_number() OVER () AS line, "
        f"{_is_malformed(value)} AS malformed, {_reason(value)} AS reason FROM {rows}) "
        f"WHERE malformed ORDER BY line"
    ).fetchall()
    return [Malformed(source.path, line, reason) for line, reason in found]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '\\"') + '"'


def _is_malformed(value: Mapping[str, str]) -> str:
    nothing = " AND ".join(f"{one} IS NULL" for one in value.values())
    return f"(({nothing}) OR {_bad_rating(value)} OR {_bad_time(value)})"


def _bad_rating(value: Mapping[str, str]) -> str:
    rating = value.get("rating", "NULL")
    return f"({rating} IS NOT NULL AND TRY_CAST({rating} AS DOUBLE) IS NULL)"


def _bad_time(value: Mapping[str, str]) -> str:
    time = value.get("time", "NULL")
    return (
        f"({time} IS NOT NULL AND TRY_CAST({time} AS DOUBLE) IS NULL "
        f"AND TRY_CAST({time} AS TIMESTAMP) IS NULL)"
    )


def _reason(value: Mapping[str, str]) -> str:
    return (
        f"CASE WHEN {_bad_rating(value)} THEN 'the rating is no number, ' || "
        f"left({value.get('rating', 'NULL')}, 40) WHEN {_bad_time(value)} "
        f"THEN 'the time is none, ' || left({value.get('time', 'NULL')}, 40) "
        f"ELSE 'no record with such columns' END"
    )


def _number(text: str | None) -> str:
    return "NULL::DOUBLE" if text is None else _finite(f"TRY_CAST({text} AS DOUBLE)")


def _instant(text: str | None) -> str:
    if text is None:
        return "NULL::DOUBLE"
    parsed = f"coalesce(TRY_CAST({text} AS DOUBLE), epoch(TRY_CAST({text} AS TIMESTAMP)))"
    return _seconds(parsed)


def _finite(number: str) -> str:
    return f"CASE WHEN isfinite(({number})::DOUBLE) THEN ({number})::DOUBLE END"


def _seconds(number: str) -> str:
    """Return a time in seconds; later than the year 5138 it is in milliseconds, and so on."""
    time = f"({number})::DOUBLE"
    return (
        f"CASE WHEN NOT isfinite({time}) THEN NULL WHEN abs({time}) >= 1e17 THEN {time} / 1e9 "
        f"WHEN abs({time}) >= 1e14 THEN {time} / 1e6 WHEN abs({time}) >= 1e11 THEN {time} / 1e3 "
        f"ELSE {time} END"
    )


def refuse_malformed(malformed: Sequence[Malformed], max_errors: int) -> None:
    """Raise if there are more malformed lines than are put up with.

    Raises:
        ValueError: With where the first are.
    """
    if len(malformed) > max_errors:
        shown = "; ".join(map(str, malformed[:_SHOWN]))
        more = f"; and {len(malformed) - _SHOWN:,} more" if len(malformed) > _SHOWN else ""
        raise ValueError(
            f"{len(malformed):,} lines are malformed, more than 'max_errors' ({max_errors}): "
            f"{shown}{more}; correct them, or give --max-errors {len(malformed)} to leave them out"
        )
