"""``mentor-pyg data``."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser
    from torch_geometric.data import HeteroData

__all__ = ["add_arguments", "run"]


def run(folder: Path) -> None:
    """Say what a data folder holds, or what is wrong with each of its files, with status 2."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no data folder {folder}; correct DIR")
    from mentor_pyg.datasets import InteractionFolder

    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        try:
            dataset = InteractionFolder(folder, force_reload=True)
            data = dataset[0]
        except (ValueError, OSError) as error:
            problems = list(dict.fromkeys([str(error), *_problems(folder)]))
            for problem in problems:
                print("error:", " ".join(problem.split()), file=sys.stderr)
            raise SystemExit(2) from error
    _describe(folder, data)
    _compare_with_published(folder, dataset.name, data)
    for note in dict.fromkeys(str(one.message) for one in noted):
        if str(folder) in note:  # Others are not about the data.
            print(f"note: {note}")


def _compare_with_published(folder: Path, name: str, data: HeteroData) -> None:
    from mentor_pyg.datasets.cache import file_sha256
    from mentor_pyg.datasets.checksums import PUBLISHED_SHA256, file_verdicts, splits_verdict

    paths = [folder / file for file in PUBLISHED_SHA256.get(name, {}) if (folder / file).is_file()]
    verdicts = file_verdicts(name, {path: file_sha256(path) for path in paths})
    for verdict in (*verdicts, splits_verdict(data)):
        if verdict is not None:
            print(verdict)


def _problems(folder: Path) -> list[str]:
    """Return the first problem of every file in a folder that cannot be read."""
    from mentor_pyg.datasets.feature_file import num_feature_rows, read_features
    from mentor_pyg.datasets.id_mapping_file import find_id_mappings, read_id_mapping
    from mentor_pyg.datasets.inter_file import read_inter_file

    found: list[str] = []
    first: list[Path] = []
    rows: int | None = None
    for path in sorted([*folder.glob("*_feat.npy"), *folder.glob("*_feat.pt")]):
        try:
            rows = num_feature_rows([*first, path])
            first = first or [path]
            read_features(path, rows)
        except (ValueError, OSError) as error:
            found.append(str(error))
    counted_by = f"the number of rows of {first[0]}" if first else "'num_items'"
    for path in sorted([*folder.glob("*.inter"), *folder.glob("*.inter.gz")]):
        try:
            read_inter_file(path, rows, counted_by)
        except (ValueError, OSError) as error:
            found.append(str(error))
    for side, path in find_id_mappings(folder).items():
        try:
            read_id_mapping(path, side, count=0)  # How many there have to be is not known here.
        except (ValueError, OSError) as error:
            found.append(str(error))
    return found


def _describe(folder: Path, data: HeteroData) -> None:
    from mentor_pyg.data import (
        ITEM,
        USER,
        edge_label_index,
        feature_key,
        modalities,
        num_items,
        num_users,
        presence,
    )

    users, items = num_users(data), num_items(data)
    splits = {split: edge_label_index(data, split) for split in ("train", "val", "test")}
    total = sum(index.size(1) for index in splits.values())
    trained = [row.unique().numel() for row in splits["train"]]
    print(f"{folder}: {total:,} interactions, density {total / (users * items):.4%}")
    for row, (side, count) in enumerate(((USER, users), (ITEM, items))):
        named = ", with original ids" if "raw_id" in data[side] else ""
        print(
            f"{side + 's':8}{count:>12,}   "
            f"{count - trained[row]:,} without train interactions{named}"
        )
    for split, index in splits.items():
        some = [row.unique().numel() for row in index]
        print(f"{split:8}{index.size(1):>12,}   of {some[0]:,} users and {some[1]:,} items")
    for modality in modalities(data):
        width, share = data[ITEM][feature_key(modality)].size(1), presence(data, modality)
        print(f"{modality:8}{width:>6} wide   {share.float().mean():.1%} of the items have it")
    if not modalities(data):
        print("no item features; models of interactions alone can be trained")


def add_arguments(parser: ArgumentParser, words: list[str]) -> None:
    """Add the arguments."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="the data folder")
