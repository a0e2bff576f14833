"""A folder of items that came later -> what adds them to a dataset."""

from __future__ import annotations

from pathlib import Path

import torch

from mentor_pyg.datasets.feature_file import find_feature_files, read_features
from mentor_pyg.item_tables import find_table, item_ids, read_table
from mentor_pyg.transforms import AddItems

__all__ = ["read_new_items"]


def read_new_items(folder: Path) -> AddItems:
    """Return what adds the items of a folder to a dataset.

    The folder has a table, ``items.parquet``, ``.csv``, ``.tsv`` or ``.jsonl``, with the original
    ids, and per modality a file ``<modality>_feat.npy`` or ``.pt`` with a row for each row of it.

    Raises:
        FileNotFoundError: If there is no such folder or table.
        MissingPackageError: If pyarrow is not installed.
        ValueError: If a file cannot be read, or they do not fit each other.
    """
    table = find_table(folder)
    if table is None:
        raise FileNotFoundError(
            f"{folder} has no table of new items; put items.csv there, or .tsv, .jsonl or "
            f".parquet, with their ids"
        )
    ids = item_ids(read_table(table), table)
    features = {}
    for modality, path in find_feature_files(folder).items():
        x, present = read_features(path, len(ids))
        features[modality] = torch.where(present.unsqueeze(1), x, torch.nan)
    return AddItems(features, ids)
