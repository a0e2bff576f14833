"""Reading ``.inter`` files: tab-separated interactions with their split."""

import gzip
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mentor_pyg.datasets.assembly import Interactions

__all__ = ["read_inter_file"]

_REQUIRED = ("userID", "itemID", "x_label")
_OPTIONAL = ("rating", "timestamp")
_SPLITS = ("train", "val", "test")  # by their label
_ENCODING = "utf-8-sig"  # accepts a byte-order mark
_LARGEST_ID = 2**31  # ids are parsed as float64 and multiplied as int64; both are exact below it

_Array = npt.NDArray[np.float64]
_Table = Mapping[str, _Array]


def read_inter_file(
    path: Path, num_items: int | None = None, counted_by: str = "'num_items'"
) -> Interactions:
    """Read an ``.inter`` file, or one that is compressed, ``.inter.gz``.

    It is tab-separated with a header that names ``userID``, ``itemID`` and ``x_label`` (0 train,
    1 validation, 2 test), and optionally ``rating`` and ``timestamp``, in any order; other
    columns are ignored, and so is a type after a name, as in ``userID:token``. Rows that repeat
    within a split are dropped; of a user and item in several splits the earliest split keeps
    them, so that nothing is evaluated that was trained on. Both come with one warning.

    Args:
        path: The file.
        num_items: The number of items, if some at any place have no interactions at all. By
            default item ids need to be dense from 0.
        counted_by: Where ``num_items`` comes from, for the message if it is too small.

    Returns:
        The interactions.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, columns are missing, a value is no number, an id is
            negative, no integer or leaves gaps, a label is unknown or a split is empty.
    """
    try:
        file = _InterFile(path, _read_header(path))
        table = file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is no whole gzip file ({error}); compress the .inter file anew"
        ) from error
    if table["x_label"].size == 0:
        raise ValueError(f"{path} holds no interactions; add rows below the header")
    for name in ("userID", "itemID"):
        file.require(table, name, _is_id, "an integer id of at least 0")
    file.require(table, "x_label", lambda x: np.isin(x, (0, 1, 2)), "0, 1 or 2")
    for name in _OPTIONAL:
        if name in table:
            file.require(table, name, np.isfinite, "a finite number")
    num_users = _count(path, "userID", table["userID"])
    if num_items is None:
        num_items = _count(path, "itemID", table["itemID"])
    elif num_items <= (largest := int(table["itemID"].max())):
        raise ValueError(
            f"{counted_by} needs to be larger than every itemID of {path}, whose largest is "
            f"{largest} (got {num_items})"
        )
    return _split(path, table, num_users, num_items)


def _open(path: Path, errors: str = "strict") -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding=_ENCODING, errors=errors)
    return open(path, encoding=_ENCODING, errors=errors)


def _read_header(path: Path) -> dict[str, int]:
    """Return the position of every known column."""
    try:
        with _open(path) as file:
            header = file.readline().rstrip("\r\n").split("\t")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} needs to be a UTF-8 text file ({error})") from error
    names = [name.split(":")[0].strip() for name in header]
    if missing := [name for name in _REQUIRED if name not in names]:
        raise ValueError(
            f"{path}: the first line needs to name the tab-separated columns "
            f"{', '.join(_REQUIRED)} (missing {', '.join(missing)}; got {header})"
        )
    return {name: names.index(name) for name in (*_REQUIRED, *_OPTIONAL) if name in names}


@dataclass(frozen=True)
class _InterFile:
    path: Path
    columns: Mapping[str, int]  # name -> position

    def read(self) -> _Table:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*contained no data")
            try:
                table = np.loadtxt(
                    self.path,
                    delimiter="\t",
                    comments=None,
                    skiprows=1,
                    ndmin=2,
                    usecols=tuple(self.columns.values()),
                    encoding=_ENCODING,
                )
            except ValueError as error:
                for name in self.columns:
                    self.refuse_first(name, _is_no_number, "a number")
                raise ValueError(f"{self.path} cannot be read as numbers ({error})") from error
        return {name: table[:, index] for index, name in enumerate(self.columns)}

    def require(
        self,
        table: _Table,
        name: str,
        is_good: Callable[[_Array], npt.NDArray[np.bool_]],
        expected: str,
    ) -> None:
        """Raise if a column of the table has a bad value."""
        if not is_good(table[name]).all():
            self.refuse_first(name, lambda text: not is_good(np.array([float(text)]))[0], expected)

    def refuse_first(self, name: str, is_bad: Callable[[str], bool], expected: str) -> None:
        """Raise for the first bad value; slow, so only for files that are known to be bad."""
        with _open(self.path, errors="replace") as file:
            next(file)
            for number, line in enumerate(file, start=2):
                fields = line.rstrip("\r\n").split("\t")
                text = fields[self.columns[name]] if self.columns[name] < len(fields) else ""
                if fields != [""] and is_bad(text):
                    raise ValueError(
                        f"{self.path}, line {number}: column '{name}' needs {expected} "
                        f"(got {text!r})"
                    )


def _is_id(x: _Array) -> npt.NDArray[np.bool_]:
    return (x >= 0) & (x < _LARGEST_ID) & (x == np.floor(x))


def _is_no_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return True
    return False


def _count(path: Path, name: str, ids: _Array) -> int:
    """Return the number of nodes, whose ids need to be dense from 0."""
    found = np.unique(ids)
    size = int(found[-1]) + 1
    if found.size < size:
        first = int(np.flatnonzero(found != np.arange(found.size))[0])
        mend = "renumber them, for example with numpy.unique(ids, return_inverse=True)"
        if name == "itemID":
            mend += (
                f", or, if the missing items have no interactions, read the folder with "
                f"InteractionFolder(..., num_items={size})"
            )
        raise ValueError(
            f"{path}: column '{name}' needs ids that are dense from 0 ({size - found.size} of the "
            f"ids 0 to {size - 1} are missing, the first of them {first}); {mend}"
        )
    return size


def _split(path: Path, table: _Table, num_users: int, num_items: int) -> Interactions:
    user, item, label = (table[name].astype(np.int64) for name in _REQUIRED)
    pair = user * num_items + item
    order = np.lexsort((label, pair))  # stable: of equal rows the file's first stays first
    pair, label = pair[order], label[order]
    again = np.concatenate([[False], pair[1:] == pair[:-1]])
    same_label = np.concatenate([[False], label[1:] == label[:-1]])
    if repeated := int((again & same_label).sum()):
        warnings.warn(
            f"{path}: {repeated} rows repeat a user and item within a split; dropped them",
            stacklevel=3,
        )
    if overlap := int((again & ~same_label).sum()):
        warnings.warn(
            f"{path}: {overlap} rows name a user and item that an earlier split (of train, val, "
            f"test) has too; kept them in the earlier split only",
            stacklevel=3,
        )
    pair, label, order = pair[~again], label[~again], order[~again]
    parts: dict[str, Tensor] = {}
    for number, split in enumerate(_SPLITS):
        chosen = pair[label == number]
        if chosen.size == 0:
            raise ValueError(
                f"{path} holds no {split} interactions; give some rows x_label {number}"
            )
        parts[split] = torch.from_numpy(np.stack([chosen // num_items, chosen % num_items]))
    train = order[label == 0]
    rating, time = (table[name][train] if name in table else None for name in _OPTIONAL)
    return Interactions(
        num_users=num_users,
        num_items=num_items,
        rating=None if rating is None else torch.from_numpy(rating).float(),
        time=None if time is None else _to_time(time),
        **parts,
    )


def _to_time(time: _Array) -> Tensor:
    tensor = torch.from_numpy(time)
    return tensor.long() if bool((tensor == tensor.floor()).all()) else tensor
