"""Checksums of published dataset files."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch_geometric.data import HeteroData

from mentor_pyg.data import edge_label_index, num_items, num_users
from mentor_pyg.tensor_files import checksum

__all__ = [
    "PUBLISHED_SHA256",
    "PUBLISHED_SPLITS",
    "PublishedSplits",
    "file_verdicts",
    "log_published",
    "splits_verdict",
]

PUBLISHED_SHA256: dict[str, dict[str, str]] = {
    "baby": {
        "baby.inter": "e0abb033ea5cc538bb2becd8c3dc50b619f28f7974ba61f5ed11ce27cf405940",
        "image_feat.npy": "36c3be592b98506189a7d5de71b21577cf626f0293b539d861534673b3e9fd70",
        "text_feat.npy": "6667f2ad655c9ecc97cb3383f58988864ef51ec0b39c158b15986c66769f2dc4",
    },
    "sports": {
        "sports.inter": "b8a43979c7984a01a8ab9713ea29a3cf13a65b1784dbadc2162fa932daf1c6a0",
        "image_feat.npy": "222f924a0694b6c7e2bc26ea4bc2ef4ec89f7045aa5105ef463af8455c7a7695",
        "text_feat.npy": "27d6087f0d8644b8245c60052425530c6446dffe61024b8126db0009ad94de84",
    },
    "clothing": {
        "clothing.inter": "1d142e4d14079cc509ac2003978eb945f7759d8875d003345cbc863dc303235a",
        "image_feat.npy": "050ea2d0d05bdd441053cc4d9ac38fd570c9611cc49357f442c1c7b8c9943fbc",
        "text_feat.npy": "17d9e036514283fb0a0dda71789fe56d0c128b60d8f350e7b7ab83ac4c5960dd",
    },
}
"""Per dataset and file, the SHA-256 checksum of what papers report on.

Those of Sports and Clothing were not computed here: they are what a public copy of these folders
records, of which the files of Baby are the published ones. A second one has the same features of
Sports. Copies whose lines end in CR and LF circulate too, and are not the published file.
"""


class PublishedSplits(NamedTuple):
    """Counts, and a checksum of who interacted with what in which split, whatever the file."""

    num_users: int
    num_items: int
    sha256: str


PUBLISHED_SPLITS = {
    "Baby": PublishedSplits(
        19445, 7050, "2c09b5124859114382b2ac350c4c4903523c68139ffd104bec54b32f5cb94cea"
    ),
    "Sports": PublishedSplits(
        35598, 18357, "5ff6c280eed0d983ea5feb935c37e49cea0563e1a2c3f0fe7bba4c1f1d7c045e"
    ),
    "TikTok": PublishedSplits(
        9308, 6710, "7a89d4cc4dae2359e4cbdc2a24efa487f7fcd3f95cacf83c5b97a4915e060f42"
    ),
}
"""Per dataset the splits that papers report on."""

_logger = logging.getLogger(__name__)


def log_published(name: str, checksums: Mapping[Path, str]) -> None:
    """Log which files of a dataset are the published ones, if the dataset is known.

    Args:
        name: The name of the dataset.
        checksums: Per file its checksum.
    """
    for verdict in file_verdicts(name, checksums):
        _logger.info(verdict)


def file_verdicts(name: str, checksums: Mapping[Path, str]) -> list[str]:
    """Say which files of a dataset are the published ones, if the dataset is known.

    Args:
        name: The name of the dataset.
        checksums: Per file its checksum.
    """
    verdicts = []
    for path, found in checksums.items():
        expected = PUBLISHED_SHA256.get(name, {}).get(path.name)
        if expected is not None:
            verdict = "is" if found == expected else "is not"
            verdicts.append(f"{path} {verdict} the published file (SHA-256 {found})")
    return verdicts


def splits_verdict(data: HeteroData) -> str | None:
    """Say whether splits are published ones, or only look like them by their counts."""
    counts = (num_users(data), num_items(data))
    for name, published in PUBLISHED_SPLITS.items():
        if counts != published[:2]:
            continue
        splits = {split: edge_label_index(data, split) for split in ("train", "val", "test")}
        if checksum(splits) == published.sha256:
            return f"the splits are those of {name} that papers report on"
        return (
            f"as many users and items as {name} has, but other splits than papers report on: "
            f"results are not comparable"
        )
    return None
