"""The folder of one training run: nothing in it is ever overwritten."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["RunFolder", "next_free_folder", "replaced_whole"]


class RunFolder:
    """Where a run keeps its settings, checkpoints, logs and results.

    Opening a folder checks, before any training, that it can be written to and that it is new or
    holds an unfinished run of the same settings, which is then resumed.

    Args:
        path: The folder; it is made if it does not exist.
        settings: Everything that the result depends on, as plain values.

    Raises:
        OSError: If the folder cannot be made or written to.
        FileExistsError: If the folder holds a finished run.
        ValueError: If it holds an unfinished run of other settings.
    """

    def __init__(self, path: str | Path, settings: dict[str, Any]) -> None:
        self.path = Path(path)
        _check_writable(self.path)
        if self.metrics.exists():
            raise FileExistsError(
                f"{self.path} holds a finished run (metrics.json); choose another output folder, "
                f"or remove this one"
            )
        settings = json.loads(json.dumps(settings))  # As they will be read back.
        if self.settings.exists():
            _check_same(self.settings, settings)
        elif taken := [p.name for p in self._written if p.exists()]:
            raise FileExistsError(
                f"{self.path} holds {taken}, which this run would overwrite and which are not of "
                f"an unfinished run; choose another output folder"
            )
        else:
            _write_json(self.settings, settings)

    @property
    def _written(self) -> tuple[Path, ...]:
        """What a run writes."""
        return (self.weights, self.best_checkpoint.parent, self.table.parents[1])

    @property
    def settings(self) -> Path:
        """The settings, as JSON."""
        return self.path / "settings.json"

    @property
    def metrics(self) -> Path:
        """The results, as JSON; a run that has them is finished."""
        return self.path / "metrics.json"

    @property
    def weights(self) -> Path:
        """The parameters of the best epoch, for :func:`mentor_pyg.models.load_model`."""
        return self.path / "model.safetensors"

    @property
    def best_checkpoint(self) -> Path:
        """The weights of the best epoch so far."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def last_checkpoint(self) -> Path:
        """The last epoch, to resume from where it exists."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def table(self) -> Path:
        """The loss terms and metrics of every epoch, as CSV."""
        return self.path / "logs" / "csv" / "metrics.csv"

    def finish(self, metrics: dict[str, Any]) -> None:
        """Write the results; the run is then finished."""
        _write_json(self.metrics, metrics)


def next_free_folder(parent: str | Path, name: str) -> Path:
    """Return ``parent/name-1``, or the first of ``-2``, ``-3``, ... that does not exist."""
    number = 1
    while (folder := Path(parent) / f"{name}-{number}").exists():
        number += 1
    return folder


@contextmanager
def replaced_whole(path: Path) -> Iterator[Path]:
    """Give a path to write to, whose file then takes the place of ``path`` at once.

    An interruption leaves the file that was there.
    """
    partial = path.with_suffix(".partial")
    yield partial
    os.replace(partial, path)


def _check_writable(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path):
            pass
    except OSError as error:
        raise type(error)(
            f"cannot write to the output folder {path}: {error.strerror}; choose another one"
        ) from error


def _check_same(file: Path, settings: dict[str, Any]) -> None:
    before = json.loads(file.read_text())
    changed = sorted(
        key for key in before.keys() | settings.keys() if before.get(key) != settings.get(key)
    )
    if "backend" in changed and before.get("backend_run", 0) == settings.get("backend_run"):
        changed.remove("backend")  # Asked for in another way, but it is the same one that runs.
    if changed:
        was = {key: before.get(key) for key in changed}
        now = {key: settings.get(key) for key in changed}
        hint = ""
        if "backend_run" in changed:
            hint = f"; its backend can be asked for by name: backend={before.get('backend_run')!r}"
        raise ValueError(
            f"{file.parent} holds an unfinished run with other settings ({was}, now {now}); give "
            f"the same settings to resume it, or choose another output folder{hint}"
        )


def _write_json(path: Path, values: dict[str, Any]) -> None:
    with replaced_whole(path) as partial:
        partial.write_text(json.dumps(values, indent=2) + "\n")
