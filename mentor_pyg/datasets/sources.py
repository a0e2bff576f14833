"""A dataset by the name of its source, as commands and plans have it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

__all__ = ["SYNTHETIC", "read_source"]

SYNTHETIC = "synthetic"
"""The source that is the built-in synthetic set; others are folders, by their absolute path."""


def read_source(source: str) -> HeteroData:
    """Return the dataset of a source.

    Raises:
        FileNotFoundError: If it is a folder that is not there.
    """
    from mentor_pyg.datasets import InteractionFolder, SyntheticMultimodal

    if source == SYNTHETIC:
        return SyntheticMultimodal(size="demo", seed=0)[0]
    if not Path(source).is_dir():
        raise FileNotFoundError(f"there is no data folder {source}; correct its path")
    return InteractionFolder(source)[0]
