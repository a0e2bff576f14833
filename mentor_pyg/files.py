"""Files and folders that a reader sees whole or not at all."""

import json
import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "check_replaceable",
    "read_json",
    "replace_folder",
    "replaced_whole",
    "user_cache",
    "write_json",
]


def user_cache() -> Path:
    """Return this library's folder in the user's cache folder; it need not exist.

    Raises:
        RuntimeError: If ``XDG_CACHE_HOME`` is not set and the user has no home.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mentor_pyg"


@contextmanager
def replaced_whole(path: str | Path) -> Iterator[Path]:
    """Give a partial path to write to, which becomes ``path`` once that has succeeded.

    The partial path is beside ``path`` and unique, so that several processes may write the same
    file: the last one wins. Where writing fails, it is removed.

    Args:
        path: The file to write or to replace.

    Raises:
        OSError: If the file cannot be written, of the class and with the ``errno`` of the cause.

    Examples:
        >>> with replaced_whole("/tmp/metrics.json") as partial:
        ...     size = partial.write_text("{}")
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        said = f"{path} could not be written, and what was there before is untouched ("
        said += f"{error.strerror or error})"
        raise (OSError(error.errno, said) if error.errno else OSError(said)) from error
    finally:
        partial.unlink(missing_ok=True)


def check_replaceable(target: Path, names: Collection[str], force: bool) -> None:
    """Raise if a folder cannot be written for what is there; an empty one may be replaced.

    Args:
        target: The folder.
        names: What may be in it.
        force: Whether it may be replaced if these are in it.

    Raises:
        OSError: If it is there without ``force``, is no folder or is in none, or holds other files.
    """
    there = next(path for path in (target, *target.parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{there} is no folder; give another one than {target}")
    if there != target:
        return
    found = {path.name for path in target.iterdir()}
    if others := sorted(found.difference(names)):
        raise FileExistsError(
            f"{target} holds what would be lost, {', '.join(others[:5])}; move it away, or give "
            f"another folder"
        )
    if found and not force:
        raise FileExistsError(f"{target} exists; give --force to replace it, or another name")


def replace_folder(partial: Path, target: Path, before: Path) -> None:
    """Give a finished folder its name; one of that name goes when the new one is there.

    Args:
        partial: The finished folder.
        target: The folder to write or to replace; it is as it was where that fails.
        before: Where the replaced one is meanwhile; nothing may be there.
    """
    if target.exists():
        os.rename(target, before)
    try:
        os.rename(partial, target)
    except BaseException:
        if before.exists():
            os.rename(before, target)
        raise
    shutil.rmtree(before, ignore_errors=True)


def write_json(path: Path, values: Any) -> None:
    """Write values as JSON, whole or not at all.

    Raises:
        OSError: If the file cannot be written.
        TypeError: If JSON has no such values.
    """
    with replaced_whole(path) as partial:
        partial.write_text(json.dumps(values, indent=2) + "\n")


@contextmanager
def read_json(path: Path, mend: str) -> Iterator[Any]:
    """Give what a JSON file holds to a block that takes of it what has to be there.

    Args:
        path: The file.
        mend: What to do where it is damaged.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no JSON, or the block finds it to be other than it has to be.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder) / "metrics.json", {"epochs": 3})
        ...     with read_json(Path(folder) / "metrics.json", "train anew") as values:
        ...         epochs = values["epochs"]
    """
    try:
        yield json.loads(path.read_text())
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path} is damaged or not of this version ({why}); {mend}") from error
