"""A folder that is whole or not there, and never replaced unasked."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mentor_pyg.files import replace_folder
from mentor_pyg.preparation.database import engine
from mentor_pyg.preparation.features import feature_file_name

__all__ = ["folder_names", "held", "open_partial", "put_in_place"]


def folder_names(name: str, modalities: Iterable[str]) -> set[str]:
    """Return the names that a folder has in it, those of the dataset's cache included."""
    made = {f"{name}.inter", "u_id_mapping.csv", "i_id_mapping.csv", "users.parquet"}
    made |= {"items.parquet", "card.md", "card.html", "processed"}
    return made | {feature_file_name(modality) for modality in modalities}


@contextmanager
def held(target: Path) -> Iterator[None]:
    """Hold a folder that is to be made against other processes, by a file beside it.

    Raises:
        FileExistsError: If another process holds it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    holder = target.with_name(f".{target.name}.lock")
    try:
        with FileLock(holder, timeout=0):
            try:
                yield
            finally:
                holder.unlink(missing_ok=True)
    except Timeout:
        raise FileExistsError(
            f"another process is preparing {target}; wait for it, or give another folder"
        ) from None


def open_partial(partial: Path, identity: str) -> None:
    """Make the folder to work in, or take over what an interrupted run of the same work left.

    Args:
        partial: The folder.
        identity: What the work is of.
    """
    work = partial / "work"
    known = work / "identity.json"
    if partial.exists():
        is_same = known.exists() and known.read_text() == identity
        if not (_has_database(work / "work.duckdb") and is_same):
            shutil.rmtree(partial)
    work.mkdir(parents=True, exist_ok=True)
    known.write_text(identity)


def _has_database(path: Path) -> bool:
    if not path.exists():
        return False
    duckdb = engine()
    try:
        duckdb.connect(str(path)).close()
    except duckdb.Error:
        return False  # Half-written.
    return True


def put_in_place(partial: Path, target: Path) -> None:
    """Give a finished folder its name; one of that name goes when the new one is there."""
    before = target.with_name(f".{target.name}.before")
    if before.is_symlink():
        before.unlink()
    elif target.exists():
        shutil.rmtree(before, ignore_errors=True)
    replace_folder(partial, target, before)
