"""Raw interactions, line by line: what is malformed is counted and shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mentor_pyg.item_tables import ITEM_COLUMNS
from mentor_pyg.preparation.database import (
    NOT_UTF8,
    engine,
    file_literal,
    literal,
    mend_encoding,
    naming,
)
from mentor_pyg.preparation.sources import Source, open_bytes

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = [
    "KNOWN_COLUMNS",
    "Malformed",
    "blank_and_unreadable",
    "check_time_format",
    "is_nested",
    "line_numbers",
    "read_interactions",
    "refuse_malformed",
    "take_malformed",
]

KNOWN_COLUMNS = {
    "user": ("userid", "user_id", "reviewerid", "user", "uid"),
    "item": tuple(name for name in ITEM_COLUMNS["item"] if name != "id"),
    "rating": ("rating", "overall", "stars", "score"),
    "time": ("timestamp", "unixreviewtime", "time", "datetime"),
}
"""Per role the usual names; Amazon's reviews of 2023 go by ``parent_asin``, and an ``id`` among
interactions is that of a review."""

_ABSURD = 1e20
"""No time, in whatever unit, is that far from 1970."""

_SWALLOWS = """
error_type <> 'INVALID ENCODING' AND contains(trim(csv_line, chr(10) || chr(13)), chr(10))
OR error_type = 'UNQUOTED VALUE' AND (
    strlen(csv_line) >= 10000 OR byte_position >= line_byte_position + strlen(csv_line)
)
"""
"""Whether a malformed line takes in others, blank ones before it aside. Of long ones DuckDB keeps
the first 10,000 bytes, and of those that end in another of its buffers not even these."""

_DECIMAL_COMMA = r"^(\s*[-+]?\d*),(\d+\s*)$"
_HAS_COMMA = "the rating has a decimal comma"
_NO_TIME = "the time is none"

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


def check_time_format(connection: DuckDBPyConnection, time_format: str) -> None:
    """Raise a ``ValueError`` if the database does not understand a form of times."""
    try:
        connection.execute(f"SELECT try_strptime('', {literal(time_format)})")
    except engine().Error as error:
        raise ValueError(
            f"'time_format' needs a form of times such as %d.%m.%Y %H:%M (got {time_format!r})"
        ) from error


def read_interactions(
    connection: DuckDBPyConnection,
    source: Source,
    columns: Mapping[str, str],
    time_format: str | None = None,
    decimal_comma: bool = False,
) -> list[Malformed]:
    """Append a source to the table ``raw`` (user, item, rating, time in seconds, breaks).

    Rows without user or item are appended, with nulls. In text files a quoted field may go over
    several lines, which count as one, and ``breaks`` is how many follow the first; blank lines
    before a malformed value count as none.

    Args:
        connection: The database.
        source: The table.
        columns: The column of ``"user"``, ``"item"`` and, if there are such, ``"rating"`` and
            ``"time"``.
        time_format: The form that times have to have, as of ``strptime``.
        decimal_comma: Whether ratings may have a comma for a point.

    Returns:
        The malformed lines, which are not appended.

    Raises:
        ValueError: If the file cannot be read, has a quote that does not end, or one of these
            columns holds lists or structs.
    """
    for role, name in columns.items():
        source.refuse_nested(role, name, f"give a column of single values, with --{role}")
    formed = partial(_formed, time_format=time_format, decimal_comma=decimal_comma)
    value = formed({role: source.column(name) for role, name in columns.items()})
    with naming(source.path):
        connection.execute(
            f"INSERT INTO raw SELECT nullif({value['user']}, ''), nullif({value['item']}, ''), "
            f"{_finite(_number(value.get('rating')))}, {_seconds(_instant(value.get('time')))}, "
            f"CASE WHEN {_is_malformed(source, value)} THEN -1 ELSE {source.breaks()} END "
            f"FROM {source.table(columns.values())}"
        )
        malformed = take_malformed(connection, source.path) if source.kind == "csv" else []
        if connection.execute("SELECT 1 FROM raw WHERE breaks < 0 LIMIT 1").fetchone():
            connection.execute("DELETE FROM raw WHERE breaks < 0")
            malformed += _find_malformed(connection, source, columns, malformed, formed)
    return sorted(malformed, key=lambda one: one.line)


def take_malformed(connection: DuckDBPyConnection, path: Path) -> list[Malformed]:
    """Return the lines of a text file that did not fit, and forget them.

    Raises:
        ValueError: If one goes over several lines, as with a quote that does not end: how many
            rows it takes in is not known.
    """
    rows = connection.execute(
        f"SELECT line, first(error_type || ', ' || left(error_message, 120) ORDER BY column_idx), "
        f"bool_or({_SWALLOWS}) FROM malformed GROUP BY line ORDER BY line"
    ).fetchall()
    connection.execute("DROP TABLE malformed; DROP TABLE scans")
    for line, reason, swallows in rows:
        if swallows:
            raise ValueError(
                f"{path}, line {line}: a malformed row goes over several lines "
                f"({' '.join(reason.split()).lower()}); correct it. If a quote does not end where "
                f"its field does, it takes in the lines after it; if quotes mean nothing in this "
                f"file, let its name end in .inter"
            )
    return [Malformed(path, line, " ".join(reason.split()).lower()) for line, reason, _ in rows]


def _find_malformed(
    connection: DuckDBPyConnection,
    source: Source,
    columns: Mapping[str, str],
    others: Sequence[Malformed],
    formed: Callable[[dict[str, str]], dict[str, str]],
) -> list[Malformed]:
    """Read the file again, for where the lines of malformed values are among the other ones."""
    value = {role: source.column(name) for role, name in columns.items()}
    rows = source.table(columns.values())
    left_out, unreadable = [one.line for one in others], dict[int, str]()
    if source.kind == "json":
        rows = (
            f"read_json_objects({file_literal(source.path)}, format = 'newline_delimited', "
            f"ignore_errors = true)"
        )
        value = {
            role: f"json_extract_string(json, {literal('$.' + _quoted(name))})"
            for role, name in columns.items()
        }
        left_out, unreadable = blank_and_unreadable(source.path)
    value = formed(value)
    found = connection.execute(
        f"SELECT row, reason FROM (SELECT row_number() OVER () AS row, "
        f"{_is_malformed(source, value)} AS malformed, {_reason(source, value)} AS reason "
        f"FROM {rows}) WHERE malformed ORDER BY row"
    ).fetchall()
    if source.kind == "csv":
        take_malformed(connection, source.path)
    lines = line_numbers([row + source.header for row, _ in found], left_out)
    return [
        Malformed(source.path, line, unreadable.get(line, reason))
        for line, (_, reason) in zip(lines, found, strict=True)
    ]


def blank_and_unreadable(path: Path) -> tuple[list[int], dict[int, str]]:
    """Return the blank lines of a file, which are no rows of JSON, and why others are no text."""
    blank, unreadable = list[int](), dict[int, str]()
    with open_bytes(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                blank.append(number)
            elif not line.isascii():
                try:
                    line.decode()
                except UnicodeDecodeError:
                    unreadable[number] = f"the line is {NOT_UTF8}"
    return blank, unreadable


def line_numbers(rows: Sequence[int], left_out: Sequence[int]) -> list[int]:
    """Return the lines of rows, both from 1 and in order, where some lines are none of the rows."""
    lines, before = [], 0
    for row in rows:
        while before < len(left_out) and left_out[before] <= row + before:
            before += 1
        lines.append(row + before)
    return lines


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '\\"') + '"'


def _formed(
    value: dict[str, str], *, time_format: str | None, decimal_comma: bool
) -> dict[str, str]:
    """Return values in SQL with times and ratings in the forms that are read, where they can be."""
    if decimal_comma and (rating := value.get("rating")):
        value = {**value, "rating": f"regexp_replace({rating}, '{_DECIMAL_COMMA}', '\\1.\\2')"}
    if time_format is not None and (time := value.get("time")):
        form, other = literal(time_format), literal(f", not {time_format}")
        seconds = f"epoch(try_strptime({time}, {form}))::VARCHAR"
        value = {**value, "time": f"coalesce({seconds}, nullif({time}, '') || {other})"}
    return value


def _is_malformed(source: Source, value: Mapping[str, str]) -> str:
    bad = f"({_bad_rating(value)} OR {_bad_time(value)})"
    if source.kind == "csv":
        return bad
    if source.kind == "json":
        bad += f" OR {is_nested(value['user'])} OR {is_nested(value['item'])}"
    return f"(({' AND '.join(f'{one} IS NULL' for one in value.values())}) OR {bad})"


def is_nested(json: str) -> str:
    """Return whether a text of JSON Lines is an object or a list, in SQL."""
    return f"CASE WHEN left({json}, 1) IN ('{{', '[') THEN json_valid({json}) ELSE false END"


def _bad_rating(value: Mapping[str, str]) -> str:
    rating = value.get("rating", "NULL")
    return f"(nullif({rating}, '') IS NOT NULL AND {_number(rating)} IS NULL)"


def _bad_time(value: Mapping[str, str]) -> str:
    time = value.get("time", "NULL")
    return (
        f"(nullif({time}, '') IS NOT NULL AND {_instant(time)} IS NULL "
        f"OR abs({_instant(time)}) BETWEEN {_ABSURD} AND 1e308)"
    )


def _reason(source: Source, value: Mapping[str, str]) -> str:
    nested = ""
    if source.kind == "json":
        nested = " ".join(
            f"WHEN {is_nested(value[role])} THEN 'the {role} is no single value, ' || "
            f"left({value[role]}, 40)"
            for role in ("user", "item")
        )
    rating = value.get("rating", "NULL")
    return (
        f"CASE {nested} WHEN {_bad_rating(value)} THEN "
        f"CASE WHEN regexp_matches({rating}, '{_DECIMAL_COMMA}') THEN '{_HAS_COMMA}, ' "
        f"ELSE 'the rating is no number, ' END || left({rating}, 40) WHEN {_bad_time(value)} "
        f"THEN '{_NO_TIME}, ' || left({value.get('time', 'NULL')}, 40) "
        f"ELSE 'no record with such columns' END"
    )


def _number(text: str | None) -> str:
    return "NULL::DOUBLE" if text is None else f"TRY_CAST({text} AS DOUBLE)"


def _instant(text: str | None) -> str:
    """Return the number that a time is, or that of its date."""
    if text is None:
        return "NULL::DOUBLE"
    # Without a zone it is in UTC. As a TIMESTAMP a zone, and any other end, would be left out.
    return f"coalesce({_number(text)}, epoch(TRY_CAST({text} AS TIMESTAMPTZ)))"


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


def refuse_malformed(
    malformed: Sequence[Malformed], max_errors: int, rows: int, time_format: str | None = None
) -> None:
    """Raise if there are more malformed lines than are put up with.

    Args:
        malformed: The lines.
        max_errors: How many are put up with.
        rows: How many other ones there are.
        time_format: The form that times had to have.

    Raises:
        ValueError: With where the first are.
    """
    if len(malformed) > max_errors:
        shown = "; ".join(map(str, malformed[:_SHOWN]))
        more = f"; and {len(malformed) - _SHOWN:,} more" if len(malformed) > _SHOWN else ""
        mend = "correct them"
        if encoded := [one.path for one in malformed if NOT_UTF8 in one.reason]:
            mend = f"if {encoded[0].name} is in another encoding, {mend_encoding(encoded[0])}"
        if any(one.reason.startswith(_HAS_COMMA) for one in malformed):
            mend += ", or give --decimal-comma"
        if any(one.reason.startswith(_NO_TIME) for one in malformed):
            mend += (
                " (times are numbers, dates such as 2024-05-01 12:30, with or without a zone, or "
                "what --time-format '%d.%m.%Y %H:%M' says)"
                if time_format is None
                else f" (every time needs the form '{time_format}'; numbers and dates such as "
                f"2024-05-01 12:30 are read without --time-format)"
            )
        if len(malformed) <= rows:  # Else most are, and it is a form that is another.
            mend += f", or give --max-errors {len(malformed)} to leave them out"
        raise ValueError(
            f"{len(malformed):,} lines are malformed, more than 'max_errors' ({max_errors}): "
            f"{shown}{more}; {mend}"
        )
