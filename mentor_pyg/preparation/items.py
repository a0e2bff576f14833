"""What is known of items: titles, descriptions, images and links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mentor_pyg.preparation.database import literal, naming
from mentor_pyg.preparation.reading import (
    Malformed,
    blank_and_unreadable,
    is_nested,
    line_numbers,
    take_malformed,
)
from mentor_pyg.preparation.sources import Source

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["TEXTS", "read_items"]

TEXTS = ("title", "description", "image", "link")


def read_items(
    connection: DuckDBPyConnection, source: Source, columns: Mapping[str, str]
) -> tuple[list[Malformed], int, int]:
    """Make the table ``described`` (id, row, title, ...): of every item its first row.

    Args:
        connection: The database.
        source: The table.
        columns: The column of ``"item"``, and of the texts that there are.

    Returns:
        The malformed lines, the number of rows, malformed ones in JSON Lines among them, and how
        many are of an item that has one before.

    Raises:
        ValueError: If the file cannot be read, or ids are lists or structs.
    """
    source.refuse_nested("id of an item", columns["item"], "make it a column of single values")
    texts = ", ".join(
        f"{_text(role, source.column(columns[role])) if role in columns else 'NULL'} AS {role}"
        for role in TEXTS
    )
    malformed: list[Malformed] = []
    id_ = source.column(columns["item"])
    nested = is_nested(id_) if source.kind == "json" else "false"
    with naming(source.path):
        connection.execute(
            f"CREATE TEMP TABLE listed AS SELECT row_number() OVER () - 1 AS row, "
            f"CASE WHEN {nested} THEN NULL ELSE nullif({id_}, '') END AS id, "
            f"{nested} AS nested, {texts} FROM {source.table(columns.values())}"
        )
        if source.kind == "csv":
            malformed = take_malformed(connection, source.path)
    without_id = connection.execute(
        "SELECT row + 1, CASE WHEN nested THEN 'the id is no single value' ELSE 'there is no id' "
        "END FROM listed WHERE id IS NULL ORDER BY row"
    ).fetchall()
    if without_id:
        left_out = [one.line for one in malformed]
        if source.kind == "json":
            left_out, _ = blank_and_unreadable(source.path)
        lines = line_numbers([row + source.header for row, _ in without_id], left_out)
        malformed += [
            Malformed(source.path, line, reason)
            for line, (_, reason) in zip(lines, without_id, strict=True)
        ]
    counts = connection.execute(
        "SELECT count(*), count(id) - count(DISTINCT id) FROM listed"
    ).fetchone()
    assert counts is not None
    connection.execute(
        "CREATE TABLE described AS SELECT * EXCLUDE nested FROM listed WHERE id IS NOT NULL "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY row) = 1"
    )
    connection.execute("DROP TABLE listed")
    return malformed, *counts


def _text(role: str, value: str) -> str:
    """Return a text in SQL; of a list its parts, or the first of images."""
    is_list = f"json_valid({value}) AND json_type({value}) = 'ARRAY'"
    if role == "image":
        first = " , ".join(
            f"json_extract_string({value}, {literal(path)})"
            for path in ("$[0].hi_res", "$[0].large", "$[0]")
        )
        listed = f"coalesce({first})"
    else:
        listed = f"array_to_string(json_extract_string({value}, '$[*]'), ' ')"
    return f"nullif(CASE WHEN {is_list} THEN {listed} ELSE {value} END, '')"
