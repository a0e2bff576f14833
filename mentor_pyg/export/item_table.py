"""What items are called and look like, from a table of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from mentor_pyg.dependencies import require

__all__ = ["DETAILS", "read_item_table"]

DETAILS = ("title", "description", "link", "image")
"""The columns of a table of items that are kept, any of which may be missing."""

_IDS = ("item", "item_id", "itemID", "id")


def read_item_table(path: Path) -> pd.DataFrame:
    """Read a table of items: CSV, TSV or Parquet.

    It has the items' original ids (numbers from 0 where items have none) in a column ``item``,
    ``item_id``, ``itemID`` or ``id``, and any of ``title``, ``description``, ``link`` and
    ``image``; others are not read.

    Returns:
        The columns of ``DETAILS`` that it has, as text or ``None``, by item id.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If it is Parquet, and pyarrow is not installed.
        ValueError: If it is no such table.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no table of items {path}; correct 'items'")
    try:
        table = _read(path)
    except (ValueError, OSError) as error:  # pandas' and Arrow's own are among them
        raise ValueError(f"{path} cannot be read as a table of items: {error}") from error
    ids = [name for name in _IDS if name in table]
    details = [name for name in DETAILS if name in table]
    if not ids or not details:
        raise ValueError(
            f"{path} needs a column {' or '.join(_IDS)} and one of {', '.join(DETAILS)} "
            f"(got {list(table)}); name its columns so"
        )
    item = table[ids[0]].astype("string")
    if item.isna().any():
        row = int(item.isna().to_numpy().argmax()) + 1
        raise ValueError(f"{path}: the item of row {row} has no {ids[0]}; remove the row")
    if (again := item.duplicated()).any():
        raise ValueError(
            f"{path}: the item {item[again].iloc[0]!r} is there more than once; keep one row of it"
        )
    kept = table[details].astype("string").set_axis(item.astype(object), axis=0).astype(object)
    kept = kept.where(kept.notna() & (kept != ""), None)
    for name in {"link", "image"}.intersection(details):
        kept[name] = kept[name].where(kept[name].map(_is_web), None)
    return kept


def _read(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        require("pyarrow", extra="parquet", purpose="Reading Parquet")
        return pd.read_parquet(path)
    if path.suffix not in (".csv", ".tsv"):
        raise ValueError("its name needs to end in .csv, .tsv or .parquet")
    separator = "," if path.suffix == ".csv" else "\t"
    # Ids such as 007 and NA are text.
    return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)


def _is_web(url: Any) -> bool:
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)
