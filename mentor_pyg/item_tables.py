"""Tables of items of the user's, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from mentor_pyg.dependencies import require

__all__ = ["ID_COLUMNS", "read_table"]

ID_COLUMNS = ("item", "item_id", "itemID", "parent_asin", "asin", "id")
"""What the column of items may be called, the first that is there."""

_BLOCK = 2**26
"""The most bytes of a row of text, which bounds memory: 64 MiB."""


def read_table(path: Path) -> Any:
    """Return the table of a ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file, pyarrow's.

    Columns of CSV and TSV are text: an id such as 007, and a title such as NA, are what they are.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If pyarrow is not installed.
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
            return parquet.read_table(path)
        if path.suffix in (".jsonl", ".json"):
            options = json_lines.ReadOptions(block_size=_BLOCK)
            return json_lines.read_json(path, read_options=options)
        if path.suffix not in (".csv", ".tsv"):
            raise ValueError("its name needs to end in .csv, .tsv, .jsonl or .parquet")
        is_tsv = path.suffix == ".tsv"
        with open(path, encoding="utf-8-sig") as file:
            header = file.readline(_BLOCK).rstrip("\r\n").split("\t" if is_tsv else ",")
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(block_size=_BLOCK),
            parse_options=csv.ParseOptions(
                delimiter="\t" if is_tsv else ",",
                quote_char=False if is_tsv else '"',
                newlines_in_values=not is_tsv,
            ),
            convert_options=csv.ConvertOptions(
                column_types={name.strip('"'): arrow.string() for name in header},
                strings_can_be_null=False,
            ),
        )
        if not is_tsv and _is_cut_off(path, table):
            raise ValueError("a quote is not closed, and takes the rest of the file")
        return table
    except (arrow.ArrowInvalid, ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a table of items: {error}") from error


def _is_cut_off(path: Path, table: Any) -> bool:
    """Return whether the last field begins with a quote that the end of the file closes."""
    if not table.num_rows or "\n" not in table.column(table.num_columns - 1)[-1].as_py():
        return False
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 64))
        return not file.read().rstrip().endswith(b'"')
