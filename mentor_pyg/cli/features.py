"""``mentor-pyg features``."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from mentor_pyg.item_tables import find_table, item_ids, read_table

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from mentor_pyg.features import ItemTable, Report

__all__ = ["add_arguments", "run"]

Kind = Literal["text", "image", "audio", "columns", "array"]

_SHOWN = 5  # Items that are named for each reason.


def run(
    kind: Kind,
    folder: Path,
    name: str | None,
    items: Path | None,
    columns: str | None,
    files: Path | None,
    array: Path | None,
    ids: Path | None,
    model: str | None,
    batch_size: int,
    device: str | None,
    force: bool,
) -> None:
    """Make the features of a data folder's items, and say which items have none, and why."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no data folder {folder}; correct DIR")
    given = _Given(folder, items, columns, files, array, ids, model, device)
    for option, kinds in _KINDS.items():
        if getattr(given, option) is not None and kind not in kinds:
            raise ValueError(f"--{option} is for {', '.join(kinds)}, not for {kind}; leave it out")
    from mentor_pyg.devices import resolve_device
    from mentor_pyg.features import feature_path, write_features

    resolve_device(device or "cpu")
    path = feature_path(folder, name or kind, force=force)
    known = _known(folder, kind)
    read, encoder, about = _SOURCES[kind](given, known)
    of_items = hashlib.sha256(json.dumps(known).encode()).hexdigest()
    about = {"kind": kind, "items": of_items, **about, **getattr(encoder, "about", {})}
    _say(write_features(path, len(known), read, encoder, about, batch_size=batch_size), known)


def _known(folder: Path, kind: Kind) -> list[str]:
    """Return the ids of a folder's items: also of new items alone."""
    from mentor_pyg.data import ITEM, num_items
    from mentor_pyg.data.raw_ids import ids_as_text
    from mentor_pyg.datasets.sources import read_source

    table = find_table(folder)
    if table is not None and not any(folder.glob("*.inter*")):
        if kind == "columns":
            raise ValueError(
                f"{folder} has new items alone, whose columns would be encoded by their own means "
                f"and categories and not by those of training; encode them yourself, as the data "
                f"folder's report says, and give them with 'array'"
            )
        return item_ids(read_table(table), table)
    data = read_source(str(folder))
    return ids_as_text(data[ITEM].get("raw_id"), num_items(data))


class _Given(NamedTuple):
    """The options, as they were given."""

    folder: Path
    items: Path | None
    columns: str | None
    files: Path | None
    array: Path | None
    ids: Path | None
    model: str | None
    device: str | None

    def path(self, name: str) -> Path:
        """Return an option that is needed."""
        path: Path | None = getattr(self, name)
        if path is None:
            raise ValueError(f"these features need --{name}; see `mentor-pyg features --help`")
        return path

    def table(self, known: list[str], *, of_texts: bool = False) -> ItemTable:
        """Return the columns of the table of items, where none are named those of texts."""
        from mentor_pyg.features import read_item_columns

        if not self.columns and not of_texts:
            raise ValueError("these features need --columns NAME,...")
        names = [one.strip() for one in self.columns.split(",")] if self.columns else None
        there = find_table(self.folder)
        items = there if self.items is None and there is not None else self.path("items")
        table = read_item_columns(items, names, known)
        if names is None:
            print(f"columns of {items}: {', '.join(table.columns)}")
        if table.unknown:
            print(f"{table.unknown:,} rows of {items} are of no item of {self.folder}")
        return table

    def encoder(self, make: Callable[..., Any]) -> Any:
        """Return an encoder by the model and on the device that were asked for, or the usual."""
        asked = {"model": self.model, "device": self.device}
        return make(**{name: value for name, value in asked.items() if value is not None})

    def of_files(self, make: Any, known: list[str]) -> _Source:
        """Return what encodes the files of the items."""
        from mentor_pyg.features import ItemFiles

        named = self.table(known).columns if self.columns or self.items else {}
        if len(named) > 1:
            raise ValueError(f"--columns needs one column, of files (got {', '.join(named)})")
        files = ItemFiles(
            self.path("files"), next(iter(named.values()), None), known, make.suffixes
        )
        encoder = self.encoder(make)
        return lambda item: files.read(item, encoder.read), encoder, {"files": files.sha256()}


_Source: TypeAlias = tuple[Callable[[int], Any], Callable[[list[Any]], Any], dict[str, Any]]
"""What gives an item's value, what makes features of values, and what tells the inputs apart."""


def _of_text(given: _Given, known: list[str]) -> _Source:
    from mentor_pyg.features import TextEncoder, joined_text

    table = given.table(known, of_texts=True)
    columns = list(table.columns.values())

    def read(item: int) -> str:
        return joined_text([column[item] for column in columns])

    about = {"columns": [*table.columns], "values": table.sha256()}
    return read, given.encoder(TextEncoder), about


def _of_columns(given: _Given, known: list[str]) -> _Source:
    from mentor_pyg.features import ColumnEncoder

    table = given.table(known)
    encoder = ColumnEncoder(table.columns, ids=known)
    for name, part in encoder.about["columns"].items():
        categories = part.get("categories")
        print(f"{name}: {'a number' if categories is None else f'{len(categories)} categories'}")
    return encoder.read, encoder, {"values": table.sha256()}


def _of_images(given: _Given, known: list[str]) -> _Source:
    from mentor_pyg.features import ImageEncoder

    return given.of_files(ImageEncoder, known)


def _of_sounds(given: _Given, known: list[str]) -> _Source:
    from mentor_pyg.features import AudioEncoder

    return given.of_files(AudioEncoder, known)


def _of_array(given: _Given, known: list[str]) -> _Source:
    from mentor_pyg.datasets.cache import file_sha256
    from mentor_pyg.features import ArrayRows

    path = given.path("array")
    rows = ArrayRows(path, known, given.ids)
    sources = [one for one in (path, given.ids) if one is not None]
    return rows.read, rows, {"sha256": [file_sha256(one) for one in sources]}


_SOURCES: dict[Kind, Callable[[_Given, list[str]], _Source]] = {
    "text": _of_text,
    "image": _of_images,
    "audio": _of_sounds,
    "columns": _of_columns,
    "array": _of_array,
}

_KINDS: dict[str, tuple[Kind, ...]] = {
    "items": ("text", "image", "audio", "columns"),
    "columns": ("text", "image", "audio", "columns"),
    "files": ("image", "audio"),
    "array": ("array",),
    "ids": ("array",),
    "model": ("text", "image", "audio"),
    "device": ("text", "image", "audio"),
}
"""The kinds that an option is for, of options that are not for all."""


def _say(report: Report, known: list[str]) -> None:
    items, channels = report.shape
    covered = items - len(report.missing)
    print(
        f"{report.path}: {covered:,} of {items:,} items ({covered / items:.1%}), {channels} wide, "
        f"in {report.seconds:.1f} s"
    )
    # What comes after a colon is the item's own, such as the name of its file.
    missing = {item: why.partition(": ")[0] for item, why in report.missing.items()}
    for reason, number in Counter(missing.values()).most_common():
        some = [known[item] for item, why in missing.items() if why == reason][:_SHOWN]
        more = ", ..." if number > len(some) else ""
        print(f"without: {number:,} items: {reason} ({', '.join(some)}{more})")


def add_arguments(parser: ArgumentParser, words: list[str]) -> None:
    """Add the arguments."""
    parser.add_argument(
        "kind", choices=[*_SOURCES], metavar="KIND", help="text, image, audio, columns or array"
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the data folder")
    parser.add_argument(
        "--name", type=str | None, help="the modality, which names the file; else KIND"
    )
    parser.add_argument(
        "--items",
        type=Path | None,
        metavar="FILE",
        help="a table of items, .csv, .tsv, .jsonl or .parquet; else items.* of DIR",
    )
    parser.add_argument(
        "--columns",
        type=str | None,
        metavar="NAME,...",
        help="its columns: of texts [title,description], to encode, or the one that names files",
    )
    parser.add_argument(
        "--files",
        type=Path | None,
        metavar="FOLDER",
        help="images or sounds, named by item id, or by a column",
    )
    parser.add_argument("--array", type=Path | None, metavar="FILE", help="features that you have")
    parser.add_argument("--ids", type=Path | None, metavar="FILE", help="its rows' ids, one a line")
    parser.add_argument("--model", type=str | None, help="a model's name or folder; else the usual")
    parser.add_argument("--batch-size", type=int, default=64, help="items at a time [64]")
    parser.add_argument("--device", type=str | None, help="where the model runs [cpu]")
    parser.add_argument("--force", action="store_true", help="replace features that are there")
