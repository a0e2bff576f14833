"""Numbers from 0 for the users and items that are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mentor_pyg.preparation.database import literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["number_kept", "write_id_mappings"]


def number_kept(connection: DuckDBPyConnection) -> None:
    """Make the tables ``users`` and ``items`` (number, id), and ``numbered`` of ``kept``.

    The numbers are dense from 0, in the order of the ids.
    """
    for side in ("user", "item"):
        connection.execute(
            f"CREATE TABLE {side}s AS SELECT (row_number() OVER (ORDER BY number) - 1)::INTEGER "
            f"AS number, number AS before, id FROM all_{side}s "
            f"SEMI JOIN (SELECT DISTINCT {side} AS number FROM kept) USING (number)"
        )
        connection.execute(f"DROP TABLE all_{side}s")
    connection.execute(
        "CREATE TABLE numbered AS SELECT u.number AS user, i.number AS item, rating, time "
        "FROM kept JOIN users u ON kept.user = u.before JOIN items i ON kept.item = i.before"
    )
    connection.execute("DROP TABLE kept")


def write_id_mappings(connection: DuckDBPyConnection, folder: Path) -> None:
    """Write ``u_id_mapping.csv`` and ``i_id_mapping.csv``, tab-separated, quoted where needed."""
    for side in ("user", "item"):
        path = literal(str(folder / f"{side[0]}_id_mapping.csv"))
        connection.execute(
            f"COPY (SELECT id AS {side}, number AS {side}ID FROM {side}s ORDER BY number) "
            f"TO {path} (FORMAT csv, DELIMITER '\t', HEADER)"
        )
