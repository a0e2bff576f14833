"""``mentor-pyg export``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mentor_pyg.cli.trained import data_source, load_run
from mentor_pyg.files import read_json
from mentor_pyg.item_tables import find_table

if TYPE_CHECKING:
    import pandas as pd
    from jsonargparse import ArgumentParser
    from torch_geometric.data import HeteroData

    from mentor_pyg.models import Model
    from mentor_pyg.transforms import AddItems

__all__ = ["add_arguments", "run"]


def run(
    run: Path,
    out: Path,
    data: Path | None,
    index: Literal["exact", "hnsw", "ivfpq"] | None,
    items: Path | None,
    new_items: Path | None,
    onnx: bool,
    force: bool,
) -> None:
    """Write a folder with all that serving a run's model needs: docs/serving.md.

    That is users, items, their original ids, what users have seen and, where a table of items has
    them, titles, descriptions, links and images. An index finds the best items among very many
    without comparing with all of them; its recall is measured.
    """
    from mentor_pyg.data import ITEM, num_items
    from mentor_pyg.data.raw_ids import ids_as_text
    from mentor_pyg.datasets.new_items import read_new_items
    from mentor_pyg.export.folder import check_target, write_export
    from mentor_pyg.features.writing import check_same_encoder

    check_target(out, force)  # Before what takes long.
    source = Path(data_source(run, data)[0])
    tables, added = _read_tables(items, new_items), None
    own = _read_own_table(source) if items is None and source.is_dir() else None
    if new_items is not None:
        added = read_new_items(new_items)
        if source.is_dir():
            check_same_encoder(new_items, like=source)
    model, dataset = load_run(run, data)
    if added is not None and new_items is not None:
        try:
            dataset = added(dataset)
        except ValueError as error:
            raise ValueError(f"{new_items}: {error}") from error
        model = _extended(model, dataset)
        _say_coverage(dataset, added, new_items)
    if own is not None:
        if own.index.isin(ids_as_text(dataset[ITEM].get("raw_id"), num_items(dataset))).any():
            tables.append(own)
        else:
            _leave_out(f"none of its ids, such as {own.index[0]}, is of the data")
    table = _merged(tables)
    found = write_export(
        model,
        dataset,
        out,
        index=index,
        items=table,
        run=_about(run),
        onnx=onnx,
        force=force,
    )
    print(
        f"written to {out}: {found['users']:,} users and {found['items']:,} items of "
        f"{found['model']['name']}, version {found['version']}"
    )
    if table is not None:
        named = ", ".join(f"{count:,} with {name}" for name, count in found["details"].items())
        print(f"items: {named}")
    views = found["views"]
    print(f"views: {', '.join(views)}" if views else "views: scores are no sum over views")
    if found["index"]:
        print("index:", ", ".join(f"{name} {value}" for name, value in found["index"].items()))


def _read_tables(items: Path | None, new_items: Path | None) -> list[pd.DataFrame]:
    """Return what tables that were asked for say of items."""
    from mentor_pyg.export.item_table import read_item_table

    tables = [] if items is None else [read_item_table(items)]
    if new_items is not None and (path := find_table(new_items)) is not None:
        tables.append(read_item_table(path, ids_alone=True))
    return tables


def _read_own_table(source: Path) -> pd.DataFrame | None:
    """Return what the data folder's table says of items."""
    from mentor_pyg.export.item_table import read_item_table

    if (path := find_table(source)) is None:
        return None
    try:
        return read_item_table(path, ids_alone=True)
    except ValueError as error:
        _leave_out(str(error))
        return None


def _leave_out(reason: str) -> None:
    """Say why the data folder's table, which nobody asked for, is left out."""
    print(f"items have no titles of the data folder: {reason}", file=sys.stderr)


def _merged(tables: Sequence[pd.DataFrame]) -> pd.DataFrame | None:
    """Return what tables say of items, by the first that has a value where several do."""
    if not any(len(table.columns) for table in tables):
        return None
    details = tables[0]
    for table in tables[1:]:
        details = details.combine_first(table)
    return details.where(details.notna(), None)


def _extended(model: Model, data: HeteroData) -> Model:
    from mentor_pyg.models import extend

    try:
        return extend(model, data)
    except TypeError as error:  # It is fitted.
        raise ValueError(str(error)) from error


def _say_coverage(data: HeteroData, added: AddItems, folder: Path) -> None:
    """Say how many new items have features: all that have none are served by one row."""
    import torch

    from mentor_pyg.data import modalities, presence

    has = {modality: presence(data, modality)[-added.count :] for modality in modalities(data)}
    found = {modality: int(rows.sum()) for modality, rows in has.items()}
    of_each = ", ".join(f"{modality} of {number:,}" for modality, number in found.items())
    print(f"new items: {added.count:,}; {of_each or 'the data have no features'}")
    if has and (bare := added.count - int(torch.stack([*has.values()]).any(dim=0).sum())):
        fewest = min(found, key=lambda modality: found[modality])
        force = " --force" if fewest in added.features else ""
        print(
            f"new items without features: {bare:,}; all get one row, the mean over all items; give "
            f"them some by `mentor-pyg features {_features_of(fewest, folder)}{force}`",
            file=sys.stderr,
        )


def _features_of(modality: str, folder: Path) -> str:
    """Return the arguments of `mentor-pyg features` for a modality of a folder's items."""
    from mentor_pyg.datasets.feature_file import MODALITY_ALIASES

    kinds = {alias: kind for kind, alias in MODALITY_ALIASES.items()}
    kind = kinds.get(modality, "array")
    more = {"text": "", "array": f" --name {modality} --array FILE"}.get(kind, " --files FOLDER")
    return f"{kind} {shlex.quote(str(folder))}{more}"


def _about(run: Path) -> dict[str, Any]:
    path = run / "metrics.json"
    if not path.is_file():
        return {}
    with read_json(path, "put a copy in its place, or remove it") as metrics:
        return {key: metrics[key] for key in ("val", "test", "best_epoch") if key in metrics}


def add_arguments(parser: ArgumentParser, words: list[str]) -> None:
    """Add the arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the run folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder")
    parser.add_argument(
        "--data", type=Path | None, metavar="DIR", help="the data folder; else the one of the run"
    )
    parser.add_argument(
        "--index",
        choices=["exact", "hnsw", "ivfpq"],
        help='a FAISS index to add (extra "faiss"); else all items are compared with',
    )
    parser.add_argument(
        "--items",
        type=Path | None,
        metavar="FILE",
        help="a table of items: a column item, and any of title, description, link, image; else "
        "the data folder's items.parquet (or .csv, .tsv, .jsonl)",
    )
    parser.add_argument(
        "--new-items",
        type=Path | None,
        metavar="DIR",
        help="items that came after training: a folder with items.csv (or .parquet), where their "
        "titles may be, and features",
    )
    parser.add_argument(
        "--onnx",
        action="store_true",
        help='add what makes a new item\'s row of its features, as ONNX (extra "onnx")',
    )
    parser.add_argument("--force", action="store_true", help="replace the export if it exists")
