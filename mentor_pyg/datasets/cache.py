"""Where processed datasets are cached, under names that say all they depend on."""

import hashlib
import json
import logging
import os
import pickle
import uuid
from collections.abc import Mapping
from pathlib import Path

import torch
from torch_geometric.data import HeteroData

__all__ = ["cache_file_name", "cache_folder", "file_sha256", "read_cache", "write_cache"]

_FORMAT = 1
"""To be raised with every change of what is written, so that no older file is read."""

_UNREADABLE = (
    AttributeError,  # what was read is no mapping
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    pickle.UnpicklingError,
)
"""What reading a damaged file raises, depending on where the damage is."""

_logger = logging.getLogger(__name__)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 checksum of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_file_name(name: str, checksums: Mapping[str, str], settings: Mapping[str, object]) -> str:
    """Return the name of the cache file of a dataset.

    Args:
        name: The name of the dataset.
        checksums: Per source, by its role, the checksum.
        settings: Everything else that the processed dataset depends on, as JSON values.
    """
    key = json.dumps([_FORMAT, dict(checksums), dict(settings)], sort_keys=True)
    return f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.pt"


def cache_folder(root: Path, cache_dir: Path | None, file_name: str) -> Path:
    """Return the folder for a dataset's cache.

    It is ``cache_dir`` if given, else ``processed`` below the data where that holds the file
    already or can be written to, else ``mentor_pyg`` in the user's cache folder.

    Args:
        root: The folder of the data.
        cache_dir: The folder asked for.
        file_name: The name of the cache file.
    """
    if cache_dir is not None:
        return cache_dir
    beside = root / "processed"
    if (beside / file_name).is_file() or _is_writable(beside if beside.exists() else root):
        return beside
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mentor_pyg"


def _is_writable(folder: Path) -> bool:
    # The superuser may write anywhere; a folder without any write bit is still not meant to be.
    return os.access(folder, os.W_OK | os.X_OK) and bool(folder.stat().st_mode & 0o222)


def read_cache(path: Path, *, mmap: bool = False) -> HeteroData | None:
    """Return a cached dataset, or ``None`` if there is none or it is damaged.

    Args:
        path: The cache file.
        mmap: Leave the tensors on the disk until they are used.
    """
    if not path.is_file():
        return None
    try:
        # Tensors and plain values only: nothing in a cache file is executed.
        stores = torch.load(path, weights_only=True, mmap=mmap)
        return HeteroData.from_dict(stores)
    except _UNREADABLE as error:
        _logger.warning("The cache file %s cannot be read and is written anew (%s)", path, error)
        return None


def write_cache(data: HeteroData, path: Path) -> None:
    """Write a cache file such that readers see it whole or not at all."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        torch.save(data.to_dict(), temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
