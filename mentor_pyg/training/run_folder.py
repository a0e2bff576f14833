"""The folder of one training run, which one process at a time may hold."""

from __future__ import annotations

import csv
import errno
import os
import pickle
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from filelock import FileLock, Timeout

from mentor_pyg.files import read_json, replaced_whole, write_json
from mentor_pyg.version import __version__

__all__ = ["MAY_GROW", "RunFolder", "flattened", "read_settings"]

_DECIDING = ("model", "training", "data")
"""Parts of a run's settings that decide whether it is the same."""
MAY_GROW = ("epochs", "patience")
"""Settings of training with which a run can be gone on with."""
_UNREADABLE = (RuntimeError, ValueError, EOFError, KeyError, OSError, pickle.UnpicklingError)
_MEND = "put a copy in its place, or choose another output folder"


class RunFolder:
    """Where a run keeps its settings, checkpoints, logs and results.

    Used as a context, it holds the folder against other processes. Entering it refuses, before
    any training, a folder that is in use, cannot be written to, or holds anything but a run of
    the same model, training settings and data; such a run goes on.

    Args:
        path: The folder; it is made if it does not exist.
        settings: What the run is, as JSON has it: ``model``, ``training``, ``data`` and
            ``environment``. The first three decide whether a run is the same.
    """

    def __init__(self, path: str | Path, settings: dict[str, Any]) -> None:
        self.path = Path(path)
        self.settings = self.path / "settings.json"
        self.metrics = self.path / "metrics.json"
        self.weights = self.path / "model.safetensors"
        self.best = self.path / "checkpoints" / "best.ckpt"
        self.last = self.path / "checkpoints" / "last.ckpt"
        self.logs = self.path / "logs"
        self._described = settings
        self._holder = self.path / "run.lock"
        self._lock = FileLock(self._holder, timeout=0)

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if any(self.path.glob("*.inter")) or any(self.path.glob("*.inter.gz")):
                raise FileExistsError(errno.EEXIST, "it is a data folder")
            self._lock.acquire()
            self._holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        except Timeout:
            holder = self._holder.read_text() or "another process"
            mend = "wait for it to end, or choose another output folder"
            raise OSError(f"{self.path} is in use by {holder}; {mend}") from None
        except OSError as error:
            raise type(error)(
                f"cannot write to the output folder {self.path}: {error.strerror}; choose another"
            ) from error
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _open(self) -> None:
        written = (self.metrics, self.weights, self.best.parent, self.logs)
        if self.settings.exists():
            before = read_settings(self.settings)
            grown = _check_same(self.path, before, self._described)
            if self.metrics.exists():
                if not grown:
                    raise FileExistsError(
                        f"{self.path} holds a finished run (metrics.json); give more 'epochs' or "
                        f"'patience' to go on with it, or choose another output folder"
                    )
                name = "metrics-{epochs}-epochs-{patience}-patience.json"
                os.replace(self.metrics, self.path / name.format(**before["training"]))
        elif taken := [path.name for path in written if path.exists()]:
            raise FileExistsError(
                f"{self.path} holds {taken}, which this run would overwrite and which are not of "
                f"an unfinished run; choose another output folder"
            )
        write_json(self.settings, self._described)

    def save(self, path: Path, state: dict[str, Any]) -> None:
        """Write a checkpoint in the place of the one before, whole or not at all."""
        path.parent.mkdir(exist_ok=True)
        with replaced_whole(path) as partial:
            torch.save(state, partial)

    def load(self, path: Path) -> dict[str, Any]:
        """Read a checkpoint, tensors and plain values only."""
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except _UNREADABLE as error:
            raise ValueError(f"{path} is damaged ({type(error).__name__}); {_MEND}") from error
        return state

    def write_table(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write the terms and metrics of every epoch as CSV; empty where an epoch has none."""
        path = self.logs / "csv" / "metrics.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_whole(path) as partial, open(partial, "w", newline="") as file:
            names = dict.fromkeys(name for row in rows for name in row)
            writer = csv.DictWriter(file, list(names), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def finish(self, metrics: dict[str, Any]) -> None:
        """Write the results; the run is then finished."""
        write_json(self.metrics, metrics)


def read_settings(path: Path) -> dict[str, Any]:
    """Return what the file ``settings.json`` of a run says that the run is.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged.
    """
    with read_json(path, _MEND) as values:
        return {part: dict(values[part]) for part in (*_DECIDING, "environment")}


def _check_same(path: Path, before: dict[str, Any], settings: dict[str, Any]) -> bool:
    """Return whether the run may train longer than before; raise if it is another run."""
    old, new = (flattened({part: run[part] for part in _DECIDING}) for run in (before, settings))
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    other = sorted(changed.difference(f"training.{name}" for name in MAY_GROW))
    if other == ["data.sha256"]:
        was, now = (run["environment"].get("modalities") for run in (before, settings))
        what = "interactions or features"
        if was is not None and was != now:
            what = f"modalities were {was}, now {now}"
        raise ValueError(
            f"{path} holds a run on these data as they were before ({what}){_of_version(before)}; "
            f"undo their change, or choose another output folder"
        )
    if other:
        was, now = ({k: values[k] for k in other if k in values} for values in (old, new))
        raise ValueError(
            f"{path} holds a run with other settings ({was}, now {now}){_of_version(before)}; give "
            f"the same settings to resume it, or choose another output folder"
        )
    return any(new[key] > old[key] for key in changed)


def _of_version(before: dict[str, Any]) -> str:
    """Return, of a run that another version began, which one, to go on with it by that."""
    version = before["environment"].get("version")
    written = f"; it is of version {version} of mentor_pyg, this is {__version__}"
    return "" if version == __version__ else written


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values under dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= (
            flattened(value, f"{prefix}{key}.")
            if isinstance(value, dict)
            else {prefix + key: value}
        )
    return flat
