"""What is known of items, from a table, in the order of a data folder's items."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from mentor_pyg.dependencies import require

__all__ = ["ItemTable", "read_item_columns"]

_IDS = ("item", "item_id", "itemID", "parent_asin", "asin", "id")
_BLOCK = 2**26
"""The most bytes of a row of text, which bounds memory: 64 MiB."""


@dataclass(frozen=True, kw_only=True)
class ItemTable:
    """Columns of items.

    Args:
        path: The file that it is of.
        columns: Per column the values of all items, ``None`` where there is none.
        unknown: How many rows are of no item.
    """

    path: Path
    columns: dict[str, list[Any]]
    unknown: int

    def sha256(self) -> str:
        """Return a checksum of the columns."""
        text = json.dumps(self.columns, sort_keys=True, default=str)
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def read_item_columns(path: Path, columns: Sequence[str], ids: Sequence[str]) -> ItemTable:
    """Read some columns of a table of items.

    Args:
        path: A ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file with a column of items named
            ``item``, ``item_id``, ``itemID``, ``parent_asin``, ``asin`` or ``id``.
        columns: The columns to read.
        ids: The items of the data folder: their original ids, or numbers where they have none.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If pyarrow is not installed.
        ValueError: If it is no such table, lacks a column, has an item twice, or none of its
            items is one of the data folder.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no table of items {path}; correct --items")
    table = _read(path)
    names = [name for name in _IDS if name in table.column_names]
    if not names:
        raise ValueError(
            f"{path} needs a column of items, one of {', '.join(_IDS)} (it has "
            f"{table.column_names})"
        )
    if absent := [name for name in columns if name not in table.column_names]:
        raise ValueError(f"{path} has no column {absent[0]!r}; it has {table.column_names}")
    number = {one: place for place, one in enumerate(ids)}
    places = [number.get(str(one)) for one in table.column(names[0]).to_pylist()]
    found = [place for place in places if place is not None]
    if not found:
        raise ValueError(
            f"none of the {len(places)} rows of {path} is about an item of the data folder; its "
            f"column {names[0]} needs ids such as {next(iter(number), None)!r}"
        )
    often, times = Counter(found).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{path} has the item {ids[often]!r} {times} times; keep one row of it")
    values: dict[str, list[Any]] = {}
    for name in columns:
        of_items: list[Any] = [None] * len(ids)
        for place, value in zip(places, table.column(name).to_pylist(), strict=True):
            if place is not None:
                of_items[place] = value
        values[name] = of_items
    return ItemTable(path=path, columns=values, unknown=len(places) - len(found))


def _read(path: Path) -> Any:
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
        return csv.read_csv(
            path,
            read_options=csv.ReadOptions(block_size=_BLOCK),
            parse_options=csv.ParseOptions(
                delimiter="\t" if is_tsv else ",",
                quote_char=False if is_tsv else '"',
                newlines_in_values=not is_tsv,
            ),
            convert_options=csv.ConvertOptions(
                # Ids such as 007 and texts such as NA are text.
                column_types={name.strip('"'): arrow.string() for name in header},
                strings_can_be_null=False,
            ),
        )
    except (arrow.ArrowInvalid, ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a table of items: {error}") from error
