"""Tables of items of the user's, as files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from mentor_pyg.dependencies import require

__all__ = [
    "ITEM_COLUMNS",
    "as_text",
    "find_columns",
    "find_delimiter",
    "find_table",
    "first_image",
    "id_column",
    "id_text",
    "item_ids",
    "read_table",
]

ITEM_COLUMNS = {
    "item": ("item", "item_id", "parent_asin", "asin", "movieId", "iid", "id", "itemID"),
    "title": ("title", "name"),
    "description": ("description",),
    "image": ("image", "images", "imUrl", "imageURLHighRes", "imageURL"),
    "link": ("link", "url"),
}
"""What the columns of a table of items may be called, by role, best first.

The field's own tables, and ``items.parquet`` of a data folder, have the number of an item as
``itemID`` beside its original id.
"""

_DELIMITERS = ("\t", "::", ",", ";", "|")

_BLOCK = 2**26
"""The most bytes of a row of text, which bounds memory: 64 MiB."""


def read_table(path: Path) -> Any:
    """Return the table of a ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file, pyarrow's.

    Columns of CSV and TSV are text: an id such as 007, and a title such as NA, are what they are.
    What separates them the first line says. Dates of JSON Lines are text, too.

    Raises:
        FileNotFoundError: If there is no such file.
        MissingPackageError: If pyarrow is not installed.
        ValueError: If it is no table, or a row of it is too long.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no table of items {path}; correct --items")
    arrow, csv, json_lines, parquet = (
        cast(Any, require(name, extra="parquet", purpose="Reading a table of items"))
        for name in ("pyarrow", "pyarrow.csv", "pyarrow.json", "pyarrow.parquet")
    )
    try:
        if path.suffix == ".parquet":
            table = parquet.read_table(path)
        elif path.suffix in (".jsonl", ".json"):
            table = _read_json_lines(path, arrow, json_lines)
        elif path.suffix in (".csv", ".tsv"):
            table = _read_text(path, arrow, csv)
        else:
            raise ValueError("its name needs to end in .csv, .tsv, .jsonl or .parquet")
        for name, times in Counter(table.column_names).items():
            if times > 1:
                raise ValueError(f"it has {times} columns {name!r}; keep one of them")
        return table
    except (arrow.ArrowInvalid, ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a table of items: {error}") from error


def find_table(folder: Path) -> Path | None:
    """Return a folder's table of items, of several the first of these; ``None`` without one."""
    names = (f"items.{kind}" for kind in ("parquet", "csv", "tsv", "jsonl"))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def find_columns(
    names: Collection[str], known: Mapping[str, Sequence[str]] = ITEM_COLUMNS
) -> dict[str, str]:
    """Return the column of every role that has one, whatever its case.

    Args:
        names: The names of a table's columns.
        known: What the column of a role may be called, best first.
    """
    there: dict[str, str] = {}
    for name in names:
        there.setdefault(name.lower(), name)
    found = {
        role: next((there[one.lower()] for one in usual if one.lower() in there), None)
        for role, usual in known.items()
    }
    return {role: name for role, name in found.items() if name is not None}


def find_delimiter(line: str) -> str | None:
    """Return what separates the columns of a text file with this first line, if anything does."""
    return next((mark for mark in _DELIMITERS if mark in line), None)


def id_column(table: Any, path: Path) -> str:
    """Return which column of a table has the items' ids.

    Raises:
        ValueError: If none has.
    """
    name = find_columns(table.column_names).get("item")
    if name is None:
        raise ValueError(
            f"{path} needs a column of items, one of {', '.join(ITEM_COLUMNS['item'])} (it has "
            f"{table.column_names})"
        )
    return name


def item_ids(table: Any, path: Path) -> list[str]:
    """Return the ids of a table of items, in the order of its rows.

    Raises:
        ValueError: If it has no column of ids, a row without one, or an item twice.
    """
    name = id_column(table, path)
    ids = list(map(id_text, table.column(name).to_pylist()))
    if "" in ids:
        row = ids.index("") + 1
        raise ValueError(f"{path}: the item of row {row} has no {name}; remove the row")
    if len(set(ids)) < len(ids):
        again, _ = Counter(ids).most_common(1)[0]
        raise ValueError(f"{path}: the item {again!r} is there more than once; keep one row of it")
    return ids


def id_text(value: Any) -> str:
    """Return an id as text, of a float that is whole an integer's, and ``""`` if there is none."""
    if isinstance(value, bytes):  # Text as older writers of Parquet have it.
        value = value.decode(errors="replace")
    if isinstance(value, float) and value.is_integer() and abs(value) < 9e15:
        value = int(value)
    return "" if value is None or value != value else str(value)


def as_text(value: Any) -> str | None:
    """Return a cell as text, of a list all its parts; ``None`` if there is nothing."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, list):
        return " ".join(part for part in map(as_text, value) if part is not None) or None
    return None if value is None else str(value) or None


def first_image(value: Any) -> str | None:
    """Return the address of an image, of several the first, in the largest size there is."""
    if isinstance(value, dict):
        value = [value.get(size) for size in ("hi_res", "large", "thumb")]
    if isinstance(value, list):
        return next((one for one in map(first_image, value) if one is not None), None)
    return as_text(value)


def _read_json_lines(path: Path, arrow: Any, json_lines: Any) -> Any:
    options = json_lines.ReadOptions(block_size=_BLOCK)
    table = json_lines.read_json(path, read_options=options)
    schema = arrow.schema(list(_with_dates_as_text(arrow.struct(list(table.schema)), arrow)))
    if schema == table.schema:
        return table
    as_text = json_lines.ParseOptions(explicit_schema=schema)
    return json_lines.read_json(path, read_options=options, parse_options=as_text)


def _with_dates_as_text(kind: Any, arrow: Any) -> Any:
    """Return a type of pyarrow's with text in the place of the dates that it has anywhere."""
    if arrow.types.is_struct(kind):
        fields = [one.with_type(_with_dates_as_text(one.type, arrow)) for one in kind]
        return arrow.struct(fields)
    if arrow.types.is_list(kind):
        return arrow.list_(_with_dates_as_text(kind.value_type, arrow))
    return arrow.string() if arrow.types.is_timestamp(kind) else kind


def _read_text(path: Path, arrow: Any, csv: Any) -> Any:
    with open(path, "rb") as file:
        start = file.read(2**16).decode("utf-8-sig", errors="replace").lstrip("\r\n")
    delimiter = find_delimiter("".join(start.splitlines()[:1]))
    if delimiter in (None, "::"):  # It has one column, or one with such a name.
        delimiter = "\t" if path.suffix == ".tsv" else ","
    options = {
        "read_options": csv.ReadOptions(block_size=_BLOCK),
        "parse_options": csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
    }
    with csv.open_csv(path, **options) as reader:
        types = dict.fromkeys(reader.schema.names, arrow.string())
    as_text = csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    table = csv.read_csv(path, **options, convert_options=as_text)
    if _is_cut_off(path, table):
        raise ValueError("a quote is not closed, and takes the rest of the file")
    if delimiter == "\t":
        for name, column in zip(table.column_names, table.columns, strict=True):
            for row, text in enumerate(column.to_pylist(), start=1):
                if "\n" in text and "\t" in text.partition("\n")[2]:
                    raise ValueError(
                        f"a quote in row {row}, column {name!r}, takes the lines after it; double "
                        f"the quotes in its texts, and put each text between quotes"
                    )
    return table


def _is_cut_off(path: Path, table: Any) -> bool:
    """Return whether the last field begins with a quote that the end of the file closes."""
    if not table.num_rows or "\n" not in table.column(table.num_columns - 1)[-1].as_py():
        return False
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 64))
        return not file.read().rstrip().endswith(b'"')
