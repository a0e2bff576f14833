"""Where processed datasets are cached, under names that say all they depend on."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.files import user_cache
from mentor_pyg.tensor_files import load_checked, save_checked

__all__ = ["cache_file_name", "cache_folder", "file_sha256", "read_cache", "write_cache"]

_FORMAT = 2
"""To be raised with every change of what is written, so that no older file is read."""

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
    return f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"


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
    return user_cache()


def _is_writable(folder: Path) -> bool:
    # The superuser may write anywhere; a folder without any write bit is still not meant to be.
    return os.access(folder, os.W_OK | os.X_OK) and bool(folder.stat().st_mode & 0o222)


def read_cache(path: Path) -> HeteroData | None:
    """Return a cached dataset, or ``None`` if there is none, not any more, or it is damaged.

    Nothing in a cache file is executed: it holds tensors and plain values only.
    """
    if not path.is_file():
        return None
    try:
        tensors, entries = load_checked(path)
    except FileNotFoundError:  # Another process made it of newer sources just now.
        return None
    except (OSError, ValueError) as error:
        _logger.warning("The cache file %s is written anew (%s)", path, error)
        return None
    data = HeteroData()
    for store, name, value in json.loads(entries):
        key = tuple(store) if isinstance(store, list) else store
        data[key][name] = tensors.get(_tensor_name(store, name), value)
    return data


def write_cache(data: HeteroData, path: Path, *, alone: bool = False) -> None:
    """Write a cache file such that readers see it whole or not at all.

    Args:
        data: The dataset.
        path: The file, of a name by :func:`cache_file_name`.
        alone: Whether the folder is that of one dataset, of which other files of its name, made of
            older sources or with other settings, are to go.

    Raises:
        OSError: If it cannot be written.
    """
    entries, tensors = [], {}
    for key, attributes in data.to_dict().items():
        for name, value in attributes.items():
            is_tensor = isinstance(value, Tensor)
            entries.append([key, name, None if is_tensor else value])
            if is_tensor:
                tensors[_tensor_name(key, name)] = value
    save_checked(tensors, path, json.dumps(entries))
    stale = re.escape(path.name.rpartition("-")[0]) + r"-[0-9a-f]{32}\.safetensors"
    for other in path.parent.iterdir() if alone else ():
        if other.name != path.name and re.fullmatch(stale, other.name):
            with suppress(OSError):
                other.unlink()


def _tensor_name(store: str | tuple[str, ...] | list[str], name: str) -> str:
    return "/".join([*([store] if isinstance(store, str) else store), name])
