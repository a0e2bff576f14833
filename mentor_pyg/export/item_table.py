"""What items are called and look like, from a table of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from mentor_pyg.item_tables import as_text, find_columns, first_image, item_ids, read_table

__all__ = ["DETAILS", "read_item_table"]

DETAILS = ("title", "description", "link", "image")
"""What is kept of a table of items, any of which may be missing."""


def read_item_table(path: Path, *, ids_alone: bool = False) -> pd.DataFrame:
    """Read a table of items: CSV, TSV, JSON Lines or Parquet.

    It has the items' original ids (numbers from 0 where items have none), and any of titles,
    descriptions, links and images, in columns of the names that
    ``mentor_pyg.item_tables.ITEM_COLUMNS`` has, whatever their case; others do not matter. A text
    may be a list of its parts, and of several images the first is taken.

    Args:
        path: The file.
        ids_alone: Whether it may have none of these.

    Returns:
        Those of ``DETAILS`` that it has, by these names, as text or ``None``, by item id.

    Raises:
        FileNotFoundError: If there is no such file.
        MissingPackageError: If pyarrow is not installed.
        ValueError: If it is no such table.
    """
    table = read_table(path)
    item = item_ids(table, path)
    columns = find_columns(table.column_names)
    details = [name for name in DETAILS if name in columns]
    if not details and not ids_alone:
        raise ValueError(
            f"{path} needs one of the columns {', '.join(DETAILS)} (it has {table.column_names}); "
            f"name its columns so"
        )
    texts = {
        name: [
            first_image(value) if name == "image" else as_text(value)
            for value in table.column(columns[name]).to_pylist()
        ]
        for name in details
    }
    kept = pd.DataFrame(texts, index=item, dtype=object)
    kept = kept.where(kept.notna(), None)
    for name in {"link", "image"}.intersection(details):
        kept[name] = kept[name].where(kept[name].map(_is_web), None)
    return kept


def _is_web(url: Any) -> bool:
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)
