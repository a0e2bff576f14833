"""Reading ``<modality>_feat.npy`` and ``.pt`` files: item features of one modality."""

import pickle
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mentor_pyg.data import check_modality_name
from mentor_pyg.typing import Modality

__all__ = [
    "MODALITY_ALIASES",
    "find_feature_files",
    "num_feature_rows",
    "open_array",
    "read_features",
]

MODALITY_ALIASES: dict[str, Modality] = {
    "image": "visual",
    "text": "textual",
    "audio": "acoustic",
}
"""What the usual file names call a modality -> its name here; other names stay as they are."""

_FILE_NAME = re.compile(r"(?P<prefix>.+)_feat\.(npy|pt)")
_BLOCK_ELEMENTS = 2**24

_Array = npt.NDArray[np.floating[Any]]


def find_feature_files(root: Path) -> dict[Modality, Path]:
    """Return the feature file of every modality in a folder.

    Args:
        root: The folder; files not named ``<modality>_feat.npy`` or ``.pt`` are ignored.

    Raises:
        ValueError: If a modality has two files or a name that cannot be one.
    """
    files: dict[Modality, Path] = {}
    for path in sorted(root.iterdir()):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None or not path.is_file():
            continue
        modality = MODALITY_ALIASES.get(match["prefix"], match["prefix"])
        check_modality_name(modality, path)
        if modality in files:
            raise ValueError(
                f"{root} holds two feature files for the modality '{modality}', "
                f"{files[modality].name} and {path.name}; remove or rename one"
            )
        files[modality] = path
    return files


def num_feature_rows(paths: Iterable[Path]) -> int:
    """Return the number of rows that feature files have, the same for all of them.

    Raises:
        ValueError: If they have different numbers of rows, or one cannot be read.
    """
    rows = {path: _open(path).shape[0] for path in paths}
    (first, count), *others = rows.items()
    for path, other in others:
        if other != count:
            raise ValueError(
                f"{path} needs one row per item, as many as {first} has, {count} (got {other}); "
                f"check that both files belong to this dataset"
            )
    return count


def read_features(path: Path, num_items: int) -> tuple[Tensor, Tensor]:
    """Read the features of one modality.

    Rows that are all NaN or all zero say that the item lacks the modality. Nothing in the file
    is executed: object arrays and pickles are refused.

    Args:
        path: A ``.npy`` array or a ``.pt`` tensor of shape ``[num_items, channels]`` in any
            floating-point type.
        num_items: The number of items.

    Returns:
        The features in float32, zero for items that lack the modality, and which items have it,
        bool ``[num_items]``.

    Raises:
        ValueError: If the file is damaged, no floating-point matrix, has another number of rows,
            infinite values or rows that are NaN in part, or no usable row at all.
    """
    source = _open(path)
    rows, channels = source.shape
    if rows != num_items:
        raise ValueError(
            f"{path} needs one row per item, {num_items} (got {rows}); check that the file "
            f"belongs to this dataset, and leave num_items out where it is not that of the rows"
        )
    x = torch.empty(rows, channels)
    present = torch.empty(rows, dtype=torch.bool)
    step = max(1, _BLOCK_ELEMENTS // channels)
    for start in range(0, rows, step):
        block = _to_float32(source[start : start + step])
        present[start : start + step] = _check_block(block, path, start)
        x[start : start + step] = block.nan_to_num_(nan=0.0)
    if not bool(present.any()):
        raise ValueError(
            f"{path} has only rows of NaN or zeros, which say that an item lacks the modality; "
            f"remove the file"
        )
    return x, present


def _open(path: Path) -> _Array | Tensor:
    """Open a matrix of features, which stays on the disk if it can."""
    return open_array(path) if path.suffix == ".npy" else _open_pt(path)


def open_array(path: Path) -> _Array:
    """Open a ``.npy`` file of features, which stay on the disk.

    Raises:
        ValueError: If it is damaged, or no floating-point matrix with columns.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        reason = str(error)
        if "pickle" in reason or "Python objects" in reason:
            reason = "it is no array or holds pickled objects, which could run code"
        raise ValueError(
            f"{path} cannot be read as a .npy array ({reason}); write it anew with "
            f"numpy.save from an array of floats"
        ) from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} needs to be one .npy array (got a {type(array).__name__})")
    if array.dtype.kind != "f":
        raise ValueError(
            f"{path} needs floating-point features (got {array.dtype}); convert them with "
            f"array.astype('float32')"
        )
    _check_shape(array, path)
    return array


def _open_pt(path: Path) -> Tensor:
    try:
        # Only the archives of newer versions of torch can be mapped into memory.
        mmap = zipfile.is_zipfile(path)
        tensor = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} cannot be read as a tensor (it is damaged or holds pickled objects, which "
            f"could run code); write it anew with torch.save(tensor, path)"
        ) from error
    except (RuntimeError, ValueError, EOFError, OSError, KeyError) as error:
        raise ValueError(f"{path} cannot be read as a tensor ({error})") from error
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
        raise ValueError(f"{path} needs to hold one dense tensor (got {type(tensor).__name__})")
    if not tensor.is_floating_point():
        raise ValueError(
            f"{path} needs floating-point features (got {tensor.dtype}); convert them with "
            f"tensor.float()"
        )
    _check_shape(tensor, path)
    return tensor.detach()


def _check_shape(source: _Array | Tensor, path: Path) -> None:
    if source.ndim != 2 or source.shape[1] == 0:
        raise ValueError(f"{path} needs the shape [num_items, channels] (got {list(source.shape)})")


def _to_float32(block: _Array | Tensor) -> Tensor:
    """Return a copy of ``block`` in float32."""
    if isinstance(block, Tensor):
        return block.to(torch.float32, copy=True)
    with np.errstate(over="ignore"):  # values beyond float32 become infinite and are refused
        return torch.from_numpy(np.array(block, dtype=np.float32))


def _check_block(block: Tensor, path: Path, start: int) -> Tensor:
    """Return which rows have features; ``start`` is the row of the file that comes first."""
    isnan = block.isnan()
    some, every = isnan.any(dim=1), isnan.all(dim=1)
    if bool((bad := block.isinf().any(dim=1)).any()):
        raise ValueError(
            f"{path}: row {start + int(bad.nonzero()[0])} holds infinite values (or values too "
            f"large for float32); features need to be finite"
        )
    if bool((bad := some & ~every).any()):
        raise ValueError(
            f"{path}: row {start + int(bad.nonzero()[0])} is NaN in part; fill it with numbers, "
            f"or with NaN or zeros throughout if the item lacks the modality"
        )
    return ~every & (block != 0).any(dim=1)
