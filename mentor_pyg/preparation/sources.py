"""Files of the user's, their columns, and what a row of them means."""

from __future__ import annotations

import csv
import glob
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal
from urllib.parse import unquote

from mentor_pyg.dependencies import require
from mentor_pyg.item_tables import find_columns, find_delimiter
from mentor_pyg.preparation.database import (
    engine,
    file_literal,
    is_utf16,
    literal,
    mend_encoding,
    naming,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["Source", "choose_columns", "find_files", "open_bytes", "open_source"]

_KINDS: dict[str, Literal["csv", "json", "parquet"]] = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".dat", ".inter"), "csv"),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "json"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
}
_MOVIELENS = {3: ("movieId", "title", "genres"), 4: ("userId", "movieId", "rating", "timestamp")}
"""The columns of its ``.dat`` files, which have no header, by their number."""

_SAMPLED = 10_000
"""Records of JSON Lines whose names are taken for those of all."""

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""What a folder of rows that lack a value is called after its ``=``."""

_WINDOW = 4_000_000
"""DuckDB counts lines that are too long as malformed, but drops those of twice as many bytes."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A table in a file.

    Args:
        path: The file.
        kind: What it is.
        columns: The names of its columns, without types as in ``user_id:token``.
        types: What those of Parquet hold, as DuckDB calls it.
        delimiter: What separates them in text.
        header: Whether the first line names them.
        folders: The columns that folders of its path name, as in ``year=2024``, and their value.
    """

    path: Path
    kind: Literal["csv", "json", "parquet"]
    columns: Sequence[str]
    types: Mapping[str, str] = field(default_factory=dict)
    delimiter: str = ""
    header: bool = False
    folders: Mapping[str, str] = field(default_factory=dict)

    @property
    def quote(self) -> str:
        """What encloses text; nothing where quotes are part of it."""
        return "" if self.delimiter == "::" or _suffix(self.path) == ".inter" else '"'

    def text_table(self) -> str:
        """Return what reads a text file in SQL, with columns ``c0``, ``c1``, ... of text.

        Lines of fewer or more columns go to the table ``malformed``.
        """
        columns = ", ".join(f"c{number}: 'VARCHAR'" for number in range(len(self.columns)))
        return (
            f"read_csv({file_literal(self.path)}, delim = {literal(self.delimiter)}, "
            f"quote = '{self.quote}', escape = '{self.quote}', header = {self.header}, "
            f"columns = {{{columns}}}, auto_detect = false, store_rejects = true, "
            f"rejects_table = 'malformed', rejects_scan = 'scans', rejects_limit = 0)"
        )

    def breaks(self) -> str:
        """Return how many lines a row of a text file goes on for after its first, in SQL."""
        if not self.quote or self.kind != "csv":
            return "0"
        columns = [f"coalesce(c{number}, '')" for number in range(len(self.columns))]
        return " + ".join(
            f"CASE WHEN contains({one}, chr(10)) THEN strlen({one}) - strlen(replace({one}, "
            f"chr(10), '')) ELSE 0 END"
            for one in columns
        )

    def column(self, name: str) -> str:
        """Return a column of the table in SQL, as text."""
        if self.kind == "csv":
            return f"c{list(self.columns).index(name)}"
        if name in self.folders:
            return literal(self.folders[name])
        quoted = '"' + name.replace('"', '""') + '"'
        type_ = self.types.get(name, "")
        if self.is_nested(name):
            return f"to_json({quoted})::VARCHAR"
        if type_.startswith(("FLOAT", "DOUBLE", "DECIMAL")):
            # Pandas makes them of integers some of which are missing.
            is_whole = f"{quoted} = trunc({quoted}) AND abs({quoted}) < 9e15"
            whole = f"CASE WHEN {is_whole} THEN TRY_CAST({quoted} AS BIGINT)::VARCHAR END"
            return f"nullif(coalesce({whole}, {quoted}::VARCHAR), 'nan')"
        if type_ == "BLOB":  # Text as older writers have it.
            return f"try(decode({quoted}))"
        return quoted if self.kind == "json" else f"{quoted}::VARCHAR"

    def refuse_nested(self, role: str, name: str, mend: str) -> None:
        """Raise a ``ValueError`` if the column of a role holds lists, structs or maps."""
        if self.is_nested(name):
            raise ValueError(
                f"{self.path}: the {role} is in column {name!r}, which holds {self.types[name]}; "
                f"{mend}"
            )

    def is_nested(self, name: str) -> bool:
        """Return whether a column of Parquet holds lists, structs or maps."""
        type_ = self.types.get(name, "")
        return type_.endswith("]") or type_.startswith(("STRUCT", "MAP", "UNION"))

    def table(self, names: Iterable[str]) -> str:
        """Return what reads the named columns in SQL, in the order of the file's rows."""
        path = file_literal(self.path)
        if self.kind == "csv":
            return self.text_table()
        if self.kind == "parquet":
            return f"read_parquet({path}, hive_partitioning = false)"
        columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in dict.fromkeys(names))
        return (
            f"read_json({path}, format = 'newline_delimited', columns = {{{columns}}}, "
            f"ignore_errors = true)"
        )


def find_files(patterns: Sequence[str | Path]) -> list[Path]:
    """Return the files that paths and globs name, sorted, each once.

    Raises:
        OSError: If a path names nothing, or a folder.
        ValueError: If a file is empty.
    """
    found: set[Path] = set()
    for pattern in map(str, patterns):
        paths = [Path(pattern)]
        if not paths[0].exists():
            paths = list(map(Path, glob.glob(pattern, recursive=True)))
        if not paths:
            raise FileNotFoundError(f"there is no file {pattern}; correct the path or the pattern")
        found.update(paths)
    for path in found:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder; give its files, as '{path}/*.csv'")
        if path.stat().st_size == 0:
            raise ValueError(f"{path} is empty; leave it out, or put a whole copy in its place")
    return sorted(found)


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return Path(name.removesuffix(".gz").removesuffix(".zst")).suffix


def open_source(
    connection: DuckDBPyConnection,
    path: Path,
    columns: Sequence[str] | None = None,
    asked: Iterable[str] = (),
) -> Source:
    """Return a file as a table.

    Args:
        connection: The database.
        path: A file of CSV, TSV, JSON Lines or Parquet by its name, the former also compressed.
        columns: The names of the columns of a text file that has no header.
        asked: Names of columns that may be in late records of JSON Lines alone.

    Raises:
        ValueError: If the file cannot be read, or its name does not say what it is.
    """
    kind = _KINDS.get(_suffix(path))
    if kind is None:
        raise ValueError(f"{path} needs a name that ends in {', '.join(_KINDS)}; rename it")
    with naming(path):
        if kind == "parquet":
            return _open_parquet(connection, path)
        if kind == "json":
            return Source(path=path, kind=kind, columns=_json_names(connection, path, asked))
        _refuse_endless(path)
        return _open_text(path, _first_line(connection, path), columns)


def _open_parquet(connection: DuckDBPyConnection, path: Path) -> Source:
    read = f"DESCRIBE FROM read_parquet({file_literal(path)}, hive_partitioning = false)"
    types = {row[0]: row[1] for row in connection.execute(read).fetchall()}
    own = {name.lower() for name in types}
    named = (part.partition("=") for part in path.parts[:-1])
    folders = {
        unquote(name): "" if value == _NO_VALUE else unquote(value)
        for name, mark, value in named
        if mark
    }
    folders = {name: value for name, value in folders.items() if name.lower() not in own}
    columns = [*types, *folders]
    return Source(path=path, kind="parquet", columns=columns, types=types, folders=folders)


def _json_names(connection: DuckDBPyConnection, path: Path, asked: Iterable[str]) -> list[str]:
    rows = connection.execute(
        f"SELECT DISTINCT unnest(json_keys(json)) AS name FROM (SELECT json FROM read_json_objects("
        f"{file_literal(path)}, format = 'newline_delimited', ignore_errors = true) "
        f"LIMIT {_SAMPLED}) ORDER BY name"
    ).fetchall()
    if not rows and is_utf16(path):
        raise ValueError(f"{path} is not in UTF-8; {mend_encoding(path)}")
    if not rows:
        raise ValueError(
            f"{path} holds no JSON objects in its first lines; it needs one a line, in JSON proper "
            f'(keys and texts in "double quotes")'
        )
    names = [row[0] for row in rows]
    for name in asked:
        if name not in names:
            source = Source(path=path, kind="json", columns=[name])
            query = f"SELECT 1 FROM {source.table([name])} WHERE {source.column(name)} IS NOT NULL"
            if connection.execute(f"{query} LIMIT 1").fetchone():
                names.append(name)
    return names


def _refuse_endless(path: Path) -> None:
    """Raise if a file has a line that DuckDB would drop without a word."""
    for number, piece in enumerate(_windows(path)):
        if len(piece) == _WINDOW and b"\n" not in piece and b"\r" not in piece:
            raise ValueError(
                f"{path} has a line of over {_WINDOW:,} bytes, in which byte {number * _WINDOW:,} "
                f"is; shorten it, or take it out"
            )


def _windows(path: Path) -> Iterator[bytes]:
    """Yield the windows of a file, decompressed, or the part of each up to its first line end."""
    if _codec(path) is None:
        with open(path, "rb") as file:
            for start in range(0, path.stat().st_size, _WINDOW):
                file.seek(start)
                yield file.readline(_WINDOW)
        return
    with suppress(OSError), open_bytes(path) as stream:
        while piece := stream.read(_WINDOW):  # What is damaged DuckDB tells of.
            yield piece


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading, decompressed if its name says that it is compressed."""
    codec = _codec(path)
    if codec is None:
        return open(path, "rb")
    arrow = require("pyarrow", extra="prepare", purpose="Compressed text")
    return io.BufferedReader(arrow.input_stream(str(path), compression=codec))


def _codec(path: Path) -> str | None:
    return {".gz": "gzip", ".zst": "zstd"}.get(path.suffix.lower())


def _first_line(connection: DuckDBPyConnection, path: Path) -> str:
    query = (
        f"FROM read_csv({file_literal(path)}, delim = chr(2), quote = '', escape = '', "
        f"header = false, columns = {{line: 'VARCHAR'}}, auto_detect = false, strict_mode = false, "
        f"parallel = false, ignore_errors = "
    )
    try:
        found = connection.execute(f"{query} false) LIMIT 1").fetchone()
    except engine().InvalidInputException as error:
        if "on Line: 1\n" in str(error):
            raise
        found = connection.execute(f"{query} true) LIMIT 1").fetchone()  # A later line is at fault.
    return "" if found is None or found[0] is None else str(found[0])


def _open_text(path: Path, line: str, columns: Sequence[str] | None) -> Source:
    delimiter = find_delimiter(line)
    if delimiter is None:
        raise ValueError(
            f"{path}: the first line needs columns separated by tab, '::', ',', ';' or '|' "
            f"(got {line[:80]!r})"
        )
    fields = (
        line.split("::") if delimiter == "::" else next(csv.reader([line], delimiter=delimiter))
    )
    fields = [field.strip() for field in fields]
    header = columns is None and not (delimiter == "::" and fields[0].isdecimal())
    names = fields if header else list(columns or _MOVIELENS.get(len(fields), ()))
    if len(names) != len(fields):
        raise ValueError(
            f"{path}: 'columns' needs the {len(fields)} names of its columns (got {names})"
        )
    names = [name.split(":")[0] for name in names]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path} names the column {doubled[0]!r} twice; rename one")
    return Source(path=path, kind="csv", columns=names, delimiter=delimiter, header=header)


def choose_columns(
    source: Source,
    asked: Mapping[str, str | None],
    known: Mapping[str, Sequence[str]],
    required: Sequence[str],
) -> dict[str, str]:
    """Return the column of every role: the one asked for, or else the first known one.

    Args:
        source: The table.
        asked: The column of a role, or ``None``.
        known: The usual names of a role, best first.
        required: The roles that need a column.

    Raises:
        ValueError: If a column is not there, or is two of the required roles at once.
    """
    found = find_columns(source.columns, known)
    chosen = {}
    for role in known:
        name = asked.get(role)
        if name is not None and name not in source.columns:
            raise ValueError(
                f"{source.path} has no column {name!r} for {role!r}; it has "
                f"{', '.join(source.columns)}"
            )
        if name := name or found.get(role):
            chosen[role] = name
    for role in required:
        if role not in chosen:
            raise ValueError(
                f"{source.path}: which column is the {role}? Name one of "
                f"{', '.join(source.columns)} with --{role}; if the first line is no header, "
                f"name all with --columns"
            )
    for one, other in combinations(required, 2):
        if chosen[one] == chosen[other]:
            raise ValueError(
                f"{source.path}: the column {chosen[one]!r} cannot be the {one} and the {other}; "
                f"name another with --{one} or --{other}"
            )
    return chosen
