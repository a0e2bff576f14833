"""The files of items in a folder of the user's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from mentor_pyg.features.writing import UnusableError

__all__ = ["ItemFiles"]


class ItemFiles:
    """Files of items, by a column that names them or by their names.

    Args:
        root: The folder; nothing outside is read.
        names: Per item the path of its file below the folder, or ``None``. Without it, an item's
            file has the item's id for its name, with one of the suffixes.
        ids: The original ids of the items, or their numbers.
        suffixes: What files that are named by ids end in, in lower case, the most usual first.

    Raises:
        NotADirectoryError: If there is no such folder.
        ValueError: If an item has two files.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[Any] | None,
        ids: Sequence[str],
        suffixes: Sequence[str],
    ) -> None:
        if not root.is_dir():
            raise NotADirectoryError(f"there is no folder {root}; correct --files")
        self.root, self.names, self.ids = root.resolve(), names, ids
        self._suffixes = suffixes
        self._by_stem = {} if names is not None else _by_stem(self.root, {*map(str, ids)}, suffixes)

    def path(self, item: int) -> Path:
        """Return the file of an item.

        Raises:
            UnusableError: If there is none, or it is not in the folder.
        """
        if self.names is None:
            path = self._by_stem.get(str(self.ids[item]))
            if path is None:
                usual = ", ".join(self._suffixes[:3])
                raise UnusableError(f"there is no file of its name that ends in {usual} or alike")
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

    def read(self, item: int, read: Callable[[Path], Any]) -> Any:
        """Return what a function reads of the file of an item.

        Raises:
            UnusableError: If there is none, or it cannot be read, and then which one it is.
        """
        path = self.path(item)
        try:
            return read(path)
        except UnusableError as error:
            raise UnusableError(f"{error}: {path.relative_to(self.root)}") from error

    def sha256(self) -> str:
        """Return a checksum of the names, sizes and times of all files, which changes with them."""
        digest = hashlib.sha256()
        for item in range(len(self.ids)):
            try:
                path = self.path(item)
                stat = path.stat()
                name = str(path.relative_to(self.root))
                # A file that takes another's name keeps its mtime, but not its ctime.
                about = (name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
                digest.update(f"{about}\n".encode())
            except UnusableError as error:
                digest.update(f"{error}\n".encode())
        return digest.hexdigest()


def _by_stem(root: Path, ids: Collection[str], suffixes: Collection[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(root.iterdir()):
        if path.stem in ids and path.suffix.lower() in suffixes and path.is_file():
            other = found.setdefault(path.stem, path)
            if other is not path:
                raise ValueError(
                    f"{root} has two files of the item {path.stem!r}, {other.name} and "
                    f"{path.name}; remove one, or name the right ones in a column, with --columns"
                )
    return found
