"""Feature arrays of the user's, in the order of the items that are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mentor_pyg.data import check_modality_name
from mentor_pyg.datasets.feature_file import MODALITY_ALIASES, open_array

__all__ = ["check_features", "feature_file_name", "write_features"]

_WIDTH = 4096
_RECORD = np.dtype([("id", "S10"), ("x", "<f4", (_WIDTH,))])
"""Of Amazon's image features of 2014: an id of 10 bytes, then the features."""

_BLOCK_BYTES = 2**25

_Block = tuple[npt.NDArray[np.int64], npt.NDArray[np.floating[Any]]]


def feature_file_name(modality: str) -> str:
    """Return the name that a modality's file has in the folder."""
    return f"{modality}_feat.npy"


def check_features(modality: str, path: Path, has_items: bool) -> None:
    """Raise if a file cannot be features; to be called before what takes long.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is neither a matrix in ``.npy`` nor Amazon's binary ``.b``, or a
            ``.npy`` file has no file of items that says what its rows are.
    """
    check_modality_name(MODALITY_ALIASES.get(modality, modality), path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; correct the features of {modality!r}")
    if path.suffix == ".b":
        size = path.stat().st_size
        if size == 0 or size % _RECORD.itemsize:
            raise ValueError(
                f"{path} needs records of {_RECORD.itemsize:,} bytes, an id of 10 and {_WIDTH} "
                f"floats of 4 (got {size:,} bytes); put a whole copy in its place"
            )
        return
    if path.suffix != ".npy":
        raise ValueError(f"{path} needs to be a .npy array, or a .b file of Amazon's of 2014")
    if not has_items:
        raise ValueError(f"{path} has rows without ids; give the file that names them as 'items'")
    open_array(path)


def write_features(
    path: Path, target: Path, ids: list[str], rows: npt.NDArray[np.int64], num_rows: int
) -> tuple[int, int]:
    """Write the features of the items that are kept, and rows of NaN where there are none.

    Rows that are not finite in float32, which models read, are no features, as are those of zeros.

    Args:
        path: The features.
        target: The file to write, ``[num_items, channels]``.
        ids: The original ids of the items ``[num_items]``, which ``.b`` files go by.
        rows: The row of every item in ``.npy`` files ``[num_items]``, -1 where it has none.
        num_rows: The number of rows that a ``.npy`` file needs.

    Returns:
        The number of items that have features, and of rows that are not finite, but NaN in part.

    Raises:
        ValueError: If a ``.npy`` file has other than ``num_rows`` rows, or no item has features.
    """
    if path.suffix == ".b":
        dtype, width, blocks = np.dtype("float32"), _WIDTH, _record_blocks(path, ids)
    else:
        array = open_array(path)
        if len(array) != num_rows:
            raise ValueError(
                f"{path} needs a row for every row of the file of items, {num_rows:,} (got "
                f"{len(array):,}); give the file of items that it was made from"
            )
        dtype, width, blocks = array.dtype, array.shape[1], _row_blocks(array, rows)
    out = np.lib.format.open_memmap(target, mode="w+", dtype=dtype, shape=(len(ids), width))
    step = max(1, _BLOCK_BYTES // (width * dtype.itemsize))
    for start in range(0, len(ids), step):
        out[start : start + step] = np.nan
    present, bad = (np.zeros(len(ids), dtype=bool) for _ in range(2))
    for item, x in blocks:
        with np.errstate(over="ignore"):
            finite = np.isfinite(x.astype(np.float32, copy=False)).all(axis=1)
        usable = finite & x.any(axis=1)
        out[item[usable]] = x[usable]
        present[item[usable]] = True
        bad[item] = ~finite & ~np.isnan(x).all(axis=1)
    out.flush()
    if not present.any():
        raise ValueError(f"{path} has no features of the items that are kept; check their ids")
    return int(present.sum()), int(bad.sum())


def _row_blocks(
    array: npt.NDArray[np.floating[Any]], rows: npt.NDArray[np.int64]
) -> Iterator[_Block]:
    items = np.flatnonzero(rows >= 0)
    step = max(1, _BLOCK_BYTES // (array.shape[1] * array.dtype.itemsize))
    for start in range(0, len(items), step):
        some = items[start : start + step]
        yield some, array[rows[some]]


def _record_blocks(path: Path, ids: list[str]) -> Iterator[_Block]:
    number = {name.encode(): item for item, name in enumerate(ids)}
    with open(path, "rb") as file:
        while (block := np.fromfile(file, _RECORD, _BLOCK_BYTES // _RECORD.itemsize)).size:
            item = np.array([number.get(name, -1) for name in block["id"].tolist()])
            yield item[item >= 0], block["x"][item >= 0]
