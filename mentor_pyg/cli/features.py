"""``mentor-pyg features``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from mentor_pyg.item_tables import find_table, item_ids, read_table

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from mentor_pyg.features import ItemFiles, ItemTable, Report

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
    device: str,
    force: bool,
) -> None:
    """Make the features of a data folder's items, and say which items have none, and why."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no data folder {folder}; correct DIR")
    from mentor_pyg.features import feature_path, write_features

    path = feature_path(folder, name or kind, force=force)
    known = _known(folder, kind)
    given = _Given(folder, items, columns, files, array, ids, model, device)
    read, encoder, about = _SOURCES[kind](given, known)
    about = {"kind": kind, **about, **getattr(encoder, "about", {})}
    _say(write_features(path, len(known), read, encoder, about, batch_size=batch_size), known)


def _known(folder: Path, kind: Kind) -> list[str]:
    """Return the ids of a folder's items: also of new items alone."""
    from mentor_pyg.data import ITEM, num_items
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
    raw_id = data[ITEM].get("raw_id")
    return [str(one) for one in (range(num_items(data)) if raw_id is None else raw_id)]


class _Given(NamedTuple):
    """The options, as they were given."""

    folder: Path
    items: Path | None
    columns: str | None
    files: Path | None
    array: Path | None
    ids: Path | None
    model: str | None
    device: str

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
        """Return an encoder by the model that was asked for, or by the usual one."""
        model = {} if self.model is None else {"model": self.model}
        return make(**model, device=self.device)

    def item_files(self, known: list[str]) -> ItemFiles:
        """Return the files of the items."""
        from mentor_pyg.features import ItemFiles

        names = next(iter(self.table(known).columns.values())) if self.columns else None
        return ItemFiles(self.path("files"), names, known)


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
    encoder = ColumnEncoder(table.columns)
    return encoder.read, encoder, {"values": table.sha256()}


def _of_images(given: _Given, known: list[str]) -> _Source:
    from mentor_pyg.features import ImageEncoder

    files = given.item_files(known)
    encoder = given.encoder(ImageEncoder)
    return (lambda item: encoder.read(files.path(item))), encoder, {"files": files.sha256()}


def _of_sounds(given: _Given, known: list[str]) -> _Source:
    from mentor_pyg.features import AudioEncoder, open_sound

    files = given.item_files(known)
    encoder = given.encoder(AudioEncoder)
    rate = encoder.rate
    return (lambda item: open_sound(files.path(item), rate)), encoder, {"files": files.sha256()}


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


def _say(report: Report, known: list[str]) -> None:
    items, channels = report.shape
    covered = items - len(report.missing)
    print(
        f"{report.path}: {covered:,} of {items:,} items ({covered / items:.1%}), {channels} wide, "
        f"in {report.seconds:.1f} s"
    )
    for reason, number in Counter(report.missing.values()).most_common():
        some = [known[item] for item, why in report.missing.items() if why == reason][:_SHOWN]
        more = ", ..." if number > len(some) else ""
        print(f"without: {number:,} items: {reason} ({', '.join(some)}{more})")


def add_arguments(parser: ArgumentParser, words: list[str]) -> None:
    """Add the arguments."""
    parser.add_argument(
        "kind", type=Kind, metavar="KIND", help="text, image, audio, columns or array"
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
        "--files", type=Path | None, metavar="FOLDER", help="images or sounds, named by item id"
    )
    parser.add_argument("--array", type=Path | None, metavar="FILE", help="features that you have")
    parser.add_argument("--ids", type=Path | None, metavar="FILE", help="its rows' ids, one a line")
    parser.add_argument("--model", type=str | None, help="a model's name or folder; else the usual")
    parser.add_argument("--batch-size", type=int, default=64, help="items at a time [64]")
    parser.add_argument("--device", type=str, default="cpu", help="where the model runs [cpu]")
    parser.add_argument("--force", action="store_true", help="replace features that are there")
