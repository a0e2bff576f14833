"""Features of items, made in batches, to a file that is there when it is whole."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mentor_pyg.data import check_modality_name
from mentor_pyg.datasets.feature_file import MODALITY_ALIASES, find_feature_files
from mentor_pyg.dependencies import require
from mentor_pyg.files import replaced_whole, write_json

__all__ = [
    "Features",
    "Report",
    "UnusableError",
    "check_same_encoder",
    "feature_path",
    "write_features",
]

Features = npt.NDArray[np.float32]
_logger = logging.getLogger(__name__)


class UnusableError(ValueError):
    """What an item has cannot be made features of; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of the items.

    Args:
        path: The feature file, ``[num_items, channels]`` in float32, NaN for items that lack it.
        shape: Its shape.
        missing: Of every item without features, by its number, why.
        about: What the features were made by and of.
        seconds: How long it took, since this start.
    """

    path: Path
    shape: tuple[int, int]
    missing: Mapping[int, str]
    about: Mapping[str, Any]
    seconds: float


def feature_path(folder: Path, name: str, *, force: bool) -> Path:
    """Return the feature file of a modality in a data folder, which may be written.

    Args:
        folder: The data folder.
        name: The modality, as files call it: ``"text"``, ``"image"``, ``"audio"`` or another.
        force: Whether a file that is there may be replaced.

    Raises:
        FileExistsError: If the modality has a file, which may not be replaced.
        ValueError: If the name cannot be one.
    """
    modality = MODALITY_ALIASES.get(name, name)
    check_modality_name(modality, "'name'")
    path = folder / f"{name}_feat.npy"
    there = find_feature_files(folder).get(modality)
    if there is not None and not (force and there == path):
        mend = "give --force to replace it" if there == path else "move it away first"
        raise FileExistsError(f"{there} exists; {mend}")
    return path


def write_features(
    path: Path,
    num_items: int,
    read: Callable[[int], Any],
    encode: Callable[[list[Any]], Features],
    about: Mapping[str, Any],
    *,
    batch_size: int = 64,
) -> Report:
    """Make the features of all items, a batch at a time.

    Interrupted and called again with the same ``about``, it goes on after the last whole batch;
    with another one, or if what it left is damaged, it starts anew. Until all items are done
    nothing is at ``path``, or what was.

    Args:
        path: The ``.npy`` file; the report goes beside it, as ``<name>_report.json``.
        num_items: The number of items.
        read: Gives what an item has, or raises :class:`UnusableError` with the reason why not.
        encode: Makes features ``[n, channels]`` of what ``n`` items have.
        about: What the features are made by and of, as JSON has it.
        batch_size: Items at a time.

    Raises:
        OSError: If another process is at it, or the file cannot be written.
        ValueError: If no item has any, or ``batch_size`` is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"'batch_size' needs to be positive (got {batch_size})")
    filelock = require("filelock", extra="train", purpose="Writing features")
    start = time.perf_counter()
    whole = {**about, "num_items": num_items, "batch_size": batch_size}
    about = json.loads(json.dumps(whole, default=str))
    holder = path.with_name(f".{path.name}.lock")
    try:
        with filelock.FileLock(holder, timeout=0):
            try:
                work = _Work(path, num_items, about)
                batches = range(work.done, num_items, batch_size)
                for first in _progress(batches, path.name, num_items):
                    work.take(range(first, min(first + batch_size, num_items)), read, encode)
                shape = work.finish()
            finally:
                holder.unlink(missing_ok=True)
    except filelock.Timeout:
        raise OSError(f"another process is writing {path}; wait until it is done") from None
    report = Report(
        path=path,
        shape=shape,
        missing=work.missing,
        about=about,
        seconds=time.perf_counter() - start,
    )
    covered = num_items - len(report.missing)
    values = {"shape": shape, "items_with_features": covered, "about": about}
    reasons = {str(item): reason for item, reason in report.missing.items()}
    write_json(_report_of(path), {**values, "missing": reasons})
    return report


def check_same_encoder(folder: Path, like: Path) -> None:
    """Check that features are made by the models that made those of other items.

    Of features without a report, such as an array of your own, nothing is known, and they pass.

    Args:
        folder: The folder with the features.
        like: The one with those of the other items.

    Raises:
        ValueError: If a modality was made by another model.
    """
    others = find_feature_files(like)
    for modality, path in find_feature_files(folder).items():
        made, asked = _encoder_of(path), modality in others and _encoder_of(others[modality])
        if made and asked and made["sha256"] != asked["sha256"]:
            raise ValueError(
                f"{path} was made by {made['model']}, those of {like} by {asked['model']}, which "
                f"has other weights; make them by the same model, with --model"
            )


def _report_of(path: Path) -> Path:
    return path.with_name(f"{path.stem.removesuffix('_feat')}_report.json")


def _encoder_of(path: Path) -> dict[str, Any] | None:
    """Return what the report of a feature file says of the model that made it, if it says so."""
    try:
        about: dict[str, Any] = json.loads(_report_of(path).read_text())["about"]
        return about if {"model", "sha256"} <= about.keys() else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


class _Work:
    """A feature file under way, and the journal of what is in it."""

    def __init__(self, path: Path, num_items: int, about: Mapping[str, Any]) -> None:
        self.path, self.num_items, self.about = path, num_items, about
        self.partial = path.with_name(f".{path.name}.partial")
        self.journal = path.with_name(f".{path.name}.partial.json")
        self.done, self.missing = 0, dict[int, str]()
        self.unwritten = dict[int, str]()  # Of the missing, those that the journal lacks.
        self.rows: Any = None
        if self.journal.is_file() and self.partial.is_file():
            try:
                self._go_on(self.journal.read_text().splitlines())
            except (ValueError, LookupError, TypeError, AttributeError):
                _logger.warning("What was made of %s so far is damaged; starting anew", path)
                self.done, self.missing, self.rows = 0, {}, None

    def _go_on(self, lines: list[str]) -> None:
        """Take over what a journal is about: a line of that, and one for each batch after it."""
        if json.loads(lines[0]) != self.about:
            return
        self.rows = np.lib.format.open_memmap(self.partial, mode="r")
        for line in lines[1:]:
            try:
                batch = json.loads(line)
            except ValueError:  # It was being written; its batch is made again.
                continue
            self.done = batch["done"]
            self.missing |= {int(item): why for item, why in batch["missing"].items()}

    def take(
        self, items: range, read: Callable[[int], Any], encode: Callable[[list[Any]], Features]
    ) -> None:
        """Make the features of some items."""
        values, usable = [], []
        for item in items:
            try:
                values.append(read(item))
                usable.append(item)
            except UnusableError as error:
                self.unwritten[item] = str(error)
        if values:
            rows = np.asarray(encode(values), dtype=np.float32)
            if self.rows is None:
                self._begin(rows.shape[1])
            block = np.full((len(items), self.rows.shape[1]), np.nan, dtype=np.float32)
            for item, row in zip(usable, rows, strict=True):
                if not np.isfinite(row).all():
                    self.unwritten[item] = "its features are not finite"
                elif not row.any():
                    self.unwritten[item] = "its features are all zero"
                else:
                    block[item - items.start] = row
            with _said(self.path), open(self.partial, "r+b") as file:
                file.seek(self.rows.offset + items.start * block[0].nbytes)
                file.write(block.data)
                file.flush()
                os.fsync(file.fileno())
        self.done = items.stop
        self.missing |= self.unwritten
        if self.rows is not None:
            batch = {"done": self.done, "missing": self.unwritten}
            with _said(self.path), open(self.journal, "a") as lines:
                lines.write(f"\n{json.dumps(batch)}")
            self.unwritten = {}

    def _begin(self, channels: int) -> None:
        """Make the file with NaN for all items, which takes all the room that it needs.

        It is written to, not mapped: where a disk is full, that is an error and no end of the
        process.
        """
        self._remove()  # The journal may be about what the file held before.
        nan = np.full((2**10, channels), np.nan, dtype=np.float32)
        shape = (self.num_items, channels)
        header = {"descr": nan.dtype.str, "fortran_order": False, "shape": shape}
        try:
            with _said(self.path), open(self.partial, "wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                for first in range(0, self.num_items, len(nan)):
                    file.write(nan[: self.num_items - first].data)
            self.rows = np.lib.format.open_memmap(self.partial, mode="r")
            with replaced_whole(self.journal) as partial:
                partial.write_text(json.dumps(self.about))
        except OSError:
            self._remove()
            raise

    def finish(self) -> tuple[int, int]:
        """Put the whole file in its place, and return its shape."""
        if self.rows is None or len(self.missing) == self.num_items:
            self._remove()
            some = next(iter(self.missing.values()), "there are no items")
            raise ValueError(f"no item has features for {self.path}; of the first: {some}")
        shape = self.rows.shape
        self.rows = None
        os.replace(self.partial, self.path)
        self._remove()
        return shape

    def _remove(self) -> None:
        self.rows = None
        self.partial.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """Say of which features it was that could not be written, and what to do."""
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"{path} could not be written ({error.strerror}); make room on the disk, or mend what "
            f"else it is, and start again, which goes on after the last whole batch",
        ) from error


def _progress(batches: range, name: str, num_items: int) -> Any:
    """Return the batches, shown as they are done where somebody looks on."""
    if not sys.stderr.isatty():
        return batches
    console: Any = require("rich.console", extra="train", purpose="Showing progress")
    progress: Any = require("rich.progress", extra="train", purpose="Showing progress")
    done = num_items and batches.start / num_items
    return progress.track(
        batches,
        description=f"{name}, from {done:.0%}" if done else name,
        console=console.Console(stderr=True),
    )
