"""Files of original ids, as the field's folders have them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

__all__ = ["find_id_mappings", "read_id_mapping"]

_FILES = {"user": ("u_id_mapping.csv", "userID"), "item": ("i_id_mapping.csv", "itemID")}
"""Per side the file, and its column of the ids that the ``.inter`` file uses."""


def find_id_mappings(folder: Path) -> dict[str, Path]:
    """Return the files of original ids that a folder holds, under ``"user"`` and ``"item"``."""
    paths = {side: folder / name for side, (name, _) in _FILES.items()}
    return {side: path for side, path in paths.items() if path.is_file()}


def read_id_mapping(path: Path, side: str, count: int) -> list[str]:
    """Return the original ids of all users or items, in the order of their ids.

    Args:
        path: A tab-separated file, whose header names a column of original ids and ``userID`` or
            ``itemID``.
        side: ``"user"`` or ``"item"``.
        count: The number of users or items.

    Raises:
        ValueError: If the file is not so, or leaves ids out; the message names it.
    """
    column = _FILES[side][1]
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} needs to be a tab-separated UTF-8 file ({error})") from error
    others = [name for name in table.columns if name != column]
    if column not in table or len(others) != 1:
        raise ValueError(
            f"{path}: the first line needs to name two tab-separated columns, that of the "
            f"original ids and {column} (got {list(table.columns)})"
        )
    if not table[column].str.fullmatch(r"\d{1,18}").all():
        wrong = table[column][~table[column].str.fullmatch(r"\d{1,18}")].iloc[0]
        raise ValueError(f"{path}: {column} needs integers of at least 0 (got {wrong!r})")
    number = table[column].astype("int64")
    known = table[others[0]].set_axis(number)
    for what, values in ((column, number), ("original id", table[others[0]])):
        if values.duplicated().any():
            again = values[values.duplicated()].iloc[0]
            raise ValueError(f"{path}: every {what} may occur once ({again} is there again)")
    if lacking := sorted(set(range(count)) - set(number))[:1]:
        raise ValueError(
            f"{path} needs the original ids of all {count} {side}s ({column} {lacking[0]} is not "
            f"there); complete it, or remove it"
        )
    return known.loc[range(count)].tolist()
