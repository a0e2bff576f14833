"""Features that the user has already, as an array."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from mentor_pyg.dependencies import MissingPackageError, require
from mentor_pyg.features.writing import Features, UnusableError
from mentor_pyg.item_tables import ITEM_COLUMNS, find_columns, id_text

__all__ = ["ArrayRows"]

_IDS = (*ITEM_COLUMNS["item"], "ids")


class ArrayRows:
    """Rows of an array, given to items by their ids.

    Args:
        path: A ``.npy`` array, a ``.npz`` or ``.safetensors`` file with one array and, if it
            likes, a vector of ids, or a ``.parquet`` file with a column of ids and one of lists.
        ids: The original ids of the items, or their numbers.
        file_ids: The ids of the array's rows, one a line in a text file; by default those in the
            file, and else the rows are in the order of the items.

    Raises:
        FileNotFoundError: If there is no such file.
        MissingPackageError: If it is Parquet, and pyarrow is not installed.
        ValueError: If it holds no such array, or the ids do not fit.
    """

    def __init__(self, path: Path, ids: Sequence[str], file_ids: Path | None = None) -> None:
        for one in (path, file_ids):
            if one is not None and not one.is_file():
                raise FileNotFoundError(f"there is no file {one}")
        try:
            self.rows, own = _read(path)
        except MissingPackageError:
            raise
        except Exception as error:  # Readers of damaged files raise errors of many kinds.
            raise ValueError(
                f"{path} cannot be read as an array: {error}; write it anew"
            ) from error
        if self.rows.ndim != 2 or not self.rows.shape[1] or self.rows.dtype.kind not in "fiu":
            raise ValueError(
                f"{path} needs numbers of the shape [rows, channels] (got {self.rows.dtype} of "
                f"shape {list(self.rows.shape)})"
            )
        try:
            named = file_ids.read_text(encoding="utf-8-sig").splitlines() if file_ids else own
        except UnicodeDecodeError as error:
            raise ValueError(f"{file_ids} needs to be text in UTF-8 ({error})") from error
        if named is None and len(self.rows) != len(ids):
            raise ValueError(
                f"{path} needs a row for each of the {len(ids)} items (got {len(self.rows)}), or "
                f"the ids of its rows with --ids"
            )
        if named is not None and (len(named) != len(self.rows) or len(set(named)) < len(named)):
            raise ValueError(
                f"{file_ids or path} needs {len(self.rows)} different ids, one for each row of "
                f"{path} (got {len(named)}, {len(set(named))} of them different)"
            )
        place = {one: row for row, one in enumerate(named if named is not None else ids)}
        self._row = [place.get(str(one)) for one in ids]
        if all(row is None for row in self._row):
            raise ValueError(
                f"none of the ids of {file_ids or path}, such as {next(iter(place), None)!r}, is "
                f"one of an item, such as {ids[0]!r}"
            )

    def read(self, item: int) -> Features:
        """Return the row of an item ``[channels]``.

        Raises:
            UnusableError: If it has none.
        """
        row = self._row[item]
        if row is None:
            raise UnusableError("there is no row for it")
        features = np.asarray(self.rows[row], dtype=np.float32)
        if np.isnan(features).all():
            raise UnusableError("its row is NaN, which says that it has none")
        return features

    def __call__(self, rows: list[Features]) -> Features:
        """Return the rows as one array ``[n, channels]``."""
        return np.stack(rows)


def _read(path: Path) -> tuple[Any, list[str] | None]:
    """Return the array of a file, and the ids of its rows if it has them."""
    if path.suffix in (".npy", ".npz", ".safetensors"):
        if path.suffix == ".safetensors":
            arrays = {
                name: (x.float() if x.dtype == torch.bfloat16 else x).numpy()
                for name, x in safetensors.torch.load_file(path).items()
            }
        else:
            file = np.load(path, mmap_mode="r", allow_pickle=False)
            if isinstance(file, np.ndarray):
                return file, None
            with file:
                arrays = dict(file)
        tables = [name for name, one in arrays.items() if one.ndim == 2]
        if len(tables) != 1:
            raise ValueError(f"it needs one array of two dimensions (got {len(tables)})")
        table = arrays.pop(tables[0])
        if (name := _id_name(arrays)) is None:
            return table, None
        return table, [id_text(one) for one in arrays[name].ravel().tolist()]
    if path.suffix == ".parquet":
        parquet: Any = require("pyarrow.parquet", extra="parquet", purpose="Reading Parquet")
        columns = parquet.read_table(path)
        name = _id_name(columns.column_names)
        others = [other for other in columns.column_names if other != name]
        if name is None or len(others) != 1:
            raise ValueError(
                f"it needs a column {' or '.join(_IDS)}, and one of lists (it has "
                f"{columns.column_names})"
            )
        return np.array(columns.column(others[0]).to_pylist()), [
            id_text(one) for one in columns.column(name).to_pylist()
        ]
    raise ValueError("its name needs to end in .npy, .npz, .safetensors or .parquet")


def _id_name(names: Collection[str]) -> str | None:
    return find_columns(names, {"ids": _IDS}).get("ids")
