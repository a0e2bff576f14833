"""The database that tables are in while they are prepared; it spills to the disk."""

from __future__ import annotations

import re
import shlex
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mentor_pyg.dependencies import require

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = [
    "NOT_UTF8",
    "count",
    "engine",
    "file_literal",
    "is_utf16",
    "literal",
    "mend_encoding",
    "naming",
    "open_database",
]

NOT_UTF8 = "not utf-8 encoded"
"""What DuckDB says of lines that are in another encoding."""


def engine() -> ModuleType:
    """Return DuckDB.

    Raises:
        MissingPackageError: If it is not installed.
    """
    return require("duckdb", extra="prepare", purpose="Preparing data")


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
        OSError: If a file cannot be written.
        ValueError: If DuckDB does not understand ``memory``, or it is too little.
    """
    duckdb = engine()
    connection = duckdb.connect(str(folder / "work.duckdb"))
    try:
        try:
            connection.execute(f"SET memory_limit = {literal(memory)}")
        except duckdb.Error as error:
            raise ValueError(f"'memory' needs a size such as 2GiB (got {memory!r})") from error
        connection.execute(f"SET temp_directory = {literal(str(folder / 'spilled'))}")
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET TimeZone = 'UTC'")  # Else times would be those of the machine.
        if threads is not None:
            connection.execute(f"SET threads = {threads}")
        yield connection
    except duckdb.OutOfMemoryException as error:
        raise ValueError(
            f"'memory' of {memory} is too little ({_line(error)}); give more, or fewer 'threads'"
        ) from error
    except duckdb.IOException as error:
        raise OSError(_line(error)) from error
    except RuntimeError as error:
        if str(error) == "Query interrupted":  # What DuckDB makes of Ctrl+C.
            raise KeyboardInterrupt from error
        raise
    finally:
        connection.close()


def literal(text: str) -> str:
    """Return a text as it is written in SQL."""
    return "'" + text.replace("'", "''") + "'"


def file_literal(path: Path) -> str:
    """Return a path as it is written in SQL, where it would else be a pattern."""
    return literal(re.sub(r"[*?\[]", r"[\g<0>]", str(path)))


def _line(error: Exception) -> str:
    """Return what DuckDB says, without the line of the file, which may be long."""
    return " ".join(re.sub(r"\nOriginal Line: .*", "", str(error)).split())[:300]


def count(connection: DuckDBPyConnection, query: str) -> Any:
    """Return the one value that a query has."""
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def is_utf16(path: Path) -> bool:
    """Return whether a file says at its start that it is in UTF-16."""
    with open(path, "rb") as file:
        return file.read(2) in (BOM_UTF16_LE, BOM_UTF16_BE)


def mend_encoding(path: Path) -> str:
    """Return how a file of another encoding is mended."""
    name = shlex.quote(path.name)
    if is_utf16(path):
        return f"convert it by `iconv -f utf-16 -t utf-8 {name}`"
    return f"convert it, as by `iconv -f latin1 -t utf-8 {name}` if it is in Latin-1"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what DuckDB says against a file into an error that names the file.

    Raises:
        ValueError: If the file cannot be read as what its name says.
    """
    duckdb = engine()
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise
    except (duckdb.Error, UnicodeDecodeError) as error:
        if NOT_UTF8 in str(error) or isinstance(error, UnicodeDecodeError):
            raise ValueError(f"{path} is not in UTF-8; {mend_encoding(path)}") from error
        raise ValueError(
            f"{path} cannot be read ({_line(error)}); correct it, or its name"
        ) from error
