"""What is known of items, from a table, in the order of a data folder's items."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mentor_pyg.item_tables import find_columns, id_column, id_text, read_table

__all__ = ["ItemTable", "read_item_columns"]


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


def read_item_columns(path: Path, columns: Sequence[str] | None, ids: Sequence[str]) -> ItemTable:
    """Read some columns of a table of items.

    Args:
        path: A ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file with a column of items, by one
            of the names of ``mentor_pyg.item_tables.ITEM_COLUMNS``, whatever its case.
        columns: The columns to read; ``None`` for that of titles and that of descriptions, of
            which the table needs one.
        ids: The items of the data folder: their original ids, or numbers where they have none.

    Raises:
        FileNotFoundError: If there is no such file.
        MissingPackageError: If pyarrow is not installed.
        ValueError: If it is no such table, lacks a column, has an item twice, or none of its
            items is one of the data folder.
    """
    table = read_table(path)
    column = id_column(table, path)
    if columns is None:
        texts = find_columns(table.column_names)
        columns = [texts[role] for role in ("title", "description") if role in texts]
        if not columns:
            raise ValueError(
                f"{path} has no column of titles or descriptions; name those to read (it has "
                f"{table.column_names})"
            )
    if absent := [name for name in columns if name not in table.column_names]:
        raise ValueError(f"{path} has no column {absent[0]!r}; it has {table.column_names}")
    number = {one: place for place, one in enumerate(ids)}
    places = [number.get(id_text(one)) for one in table.column(column).to_pylist()]
    found = [place for place in places if place is not None]
    if not found:
        raise ValueError(
            f"none of the {len(places)} rows of {path} is about an item of the data folder; its "
            f"column {column} needs ids such as {next(iter(number), None)!r}"
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
