"""Tables of results in files, which are never replaced unasked."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mentor_pyg.dependencies import MissingPackageError, require
from mentor_pyg.files import replaced_whole

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from torch_geometric.data import HeteroData

__all__ = ["original_ids", "table_writer", "write_csv"]


def table_writer(path: Path, force: bool, option: str) -> Callable[[Iterator[pd.DataFrame]], None]:
    """Return what writes the parts of a table to a file and says so, or raise if it cannot be.

    To be called before what takes long.

    Args:
        path: The file, by its name CSV or Parquet.
        force: Whether to replace it if it exists.
        option: The option that gave the path, for the message.

    Raises:
        FileExistsError: If the file exists.
        FileNotFoundError: If its folder does not.
        MissingPackageError: If it is Parquet and pyarrow is not installed.
        ValueError: If it is neither CSV nor Parquet.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"'{option}' needs to end in .csv or .parquet (got {path})")
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists; give --force to replace it, or another name")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for '{option}'; make it")
    write: Callable[[Path, Iterator[pd.DataFrame]], None] = write_csv
    if path.suffix == ".parquet":
        try:
            require("pyarrow", extra="parquet", purpose="Writing Parquet")
        except MissingPackageError as error:
            raise MissingPackageError(f"{error}, or write a .csv file") from error
        write = _write_parquet

    def write_file(parts: Iterator[pd.DataFrame]) -> None:
        with replaced_whole(path) as partial:
            write(partial, parts)
        print(f"written to {path}")

    return write_file


def write_csv(file: Any, parts: Iterator[pd.DataFrame]) -> None:
    """Write the parts of a table to a path, or to an open file, as CSV."""
    for number, frame in enumerate(parts):
        mode, header = ("a", False) if number else ("w", True)
        frame.to_csv(file, mode=mode, header=header, index=False)


def _write_parquet(path: Path, parts: Iterator[pd.DataFrame]) -> None:
    table_of = importlib.import_module("pyarrow").Table.from_pandas
    first = table_of(next(parts), preserve_index=False)
    with importlib.import_module("pyarrow.parquet").ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for frame in parts:
            writer.write_table(table_of(frame, schema=first.schema, preserve_index=False))


def original_ids(data: HeteroData) -> dict[str, np.ndarray]:
    """Return the original ids of users and items, by side, where the data have them."""
    import numpy as np

    from mentor_pyg.data import ITEM, USER

    raw_ids = {side: data[side].get("raw_id") for side in (USER, ITEM)}
    return {side: np.asarray(ids) for side, ids in raw_ids.items() if ids is not None}
