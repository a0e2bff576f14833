"""The files of items in a folder of the user's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mentor_pyg.features.writing import UnusableError

__all__ = ["ItemFiles"]


class ItemFiles:
    """Files of items, by a column that names them or by their names.

    Args:
        root: The folder; nothing outside is read.
        names: Per item the path of its file below the folder, or ``None``. Without it, an item's
            file has the item's id for its name, with any suffix.
        ids: The original ids of the items, or their numbers.

    Raises:
        NotADirectoryError: If there is no such folder.
    """

    def __init__(self, root: Path, names: Sequence[Any] | None, ids: Sequence[str]) -> None:
        if not root.is_dir():
            raise NotADirectoryError(f"there is no folder {root}; correct --files")
        self.root, self.names, self.ids = root.resolve(), names, ids
        self._by_stem: dict[str, Path] = {}
        if names is None:
            for path in sorted(self.root.iterdir(), reverse=True):
                self._by_stem[path.stem] = path  # Of several, the first by name.

    def path(self, item: int) -> Path:
        """Return the file of an item.

        Raises:
            UnusableError: If there is none, or it is not in the folder.
        """
        if self.names is None:
            path = self._by_stem.get(str(self.ids[item]))
            if path is None:
                raise UnusableError("there is no file of its name")
        else:
            name = self.names[item]
            if name is None or not str(name).strip():
                raise UnusableError("no file is named")
            name = str(name)
            if "://" in name:
                raise UnusableError("an address is named, not a file; load it down first")
            if "\0" in name:
                raise UnusableError("its name has a zero byte")
            path = self.root / name
        try:
            path = path.resolve(strict=True)
        except OSError as error:
            raise UnusableError("its file is not there") from error
        if not path.is_relative_to(self.root):
            raise UnusableError("its file is outside of the folder")
        if not path.is_file():
            raise UnusableError("it is no file")
        return path

    def sha256(self) -> str:
        """Return a checksum of the sizes and times of all files, which changes when they do."""
        digest = hashlib.sha256()
        for item in range(len(self.ids)):
            try:
                stat = self.path(item).stat()
                digest.update(f"{stat.st_size} {stat.st_mtime_ns}\n".encode())
            except UnusableError as error:
                digest.update(f"{error}\n".encode())
        return digest.hexdigest()
