"""What is known of items: titles, descriptions, images and links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mentor_pyg.preparation.database import literal, naming
from mentor_pyg.preparation.reading import Malformed, take_malformed
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
    with naming(source.path):
        connection.execute(
            f"CREATE TEMP TABLE listed AS SELECT row_number() OVER () - 1 AS row, "
            f"nullif({source.column(columns['item'])}, '') AS id, {texts} "
            f"FROM {source.table(columns.values())}"
        )
        if source.kind == "csv":
            malformed = take_malformed(connection, source.path)
    found = connection.execute(
        "SELECT count(*), list(row + 1 ORDER BY row) FILTER (id IS NULL), "
        "count(id) - count(DISTINCT id) FROM listed"
    ).fetchone()
    assert found is not None
    malformed += [Malformed(source.path, row, "there is no id") for row in found[1] or ()]
    connection.execute(
        "CREATE TABLE described AS SELECT * FROM listed WHERE id IS NOT NULL "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY row) = 1"
    )
    connection.execute("DROP TABLE listed")
    return malformed, found[0], found[2]


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
