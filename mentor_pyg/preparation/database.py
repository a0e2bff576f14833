"""The database that tables are in while they are prepared; it spills to the disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mentor_pyg.dependencies import require

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["count", "literal", "naming", "open_database"]


@contextmanager
def open_database(
    folder: Path, memory: str, threads: int | None = None
) -> Iterator[DuckDBPyConnection]:
    """Open a database of its own in a folder.

    Args:
        folder: Where it keeps its file, and what memory cannot hold.
        memory: The memory it may take, as ``"2GiB"``.
        threads: How many threads it may take; by default one a core.

    Raises:
        ImportError: If DuckDB is not installed.
        ValueError: If DuckDB does not understand ``memory``.
    """
    duckdb = require("duckdb", extra="prepare", purpose="Preparing data")
    connection = duckdb.connect(str(folder / "work.duckdb"))
    try:
        try:
            connection.execute(f"SET memory_limit = {literal(memory)}")
        except duckdb.Error as error:
            raise ValueError(f"'memory' needs a size such as 2GiB (got {memory!r})") from error
        connection.execute(f"SET temp_directory = {literal(str(folder / 'spilled'))}")
        connection.execute("SET enable_progress_bar = false")
        if threads is not None:
            connection.execute(f"SET threads = {threads}")
        yield connection
    finally:
        connection.close()


def literal(text: str) -> str:
    """Return a text as it is written in SQL."""
    return "'" + text.replace("'", "''") + "'"


def count(connection: DuckDBPyConnection, query: str) -> Any:
    """Return the one value that a query has."""
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what DuckDB says against a file into an error that names the file.

    Raises:
        ValueError: If the file cannot be read as what its name says.
    """
    duckdb = require("duckdb", extra="prepare", purpose="Preparing data")
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise ValueError(f"{path} does not fit into 'memory'; give more ({error})") from error
    except (duckdb.Error, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())[:300]
        raise ValueError(f"{path} cannot be read ({said}); correct it, or its name") from error
