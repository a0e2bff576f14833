"""Checksums of published dataset files."""

import logging
from collections.abc import Mapping
from pathlib import Path

__all__ = ["PUBLISHED_SHA256", "log_published"]

PUBLISHED_SHA256: dict[str, dict[str, str]] = {
    "baby": {
        "baby.inter": "e0abb033ea5cc538bb2becd8c3dc50b619f28f7974ba61f5ed11ce27cf405940",
        "image_feat.npy": "36c3be592b98506189a7d5de71b21577cf626f0293b539d861534673b3e9fd70",
        "text_feat.npy": "6667f2ad655c9ecc97cb3383f58988864ef51ec0b39c158b15986c66769f2dc4",
    }
}
"""Per dataset and file, the SHA-256 checksum of what papers report on."""

_logger = logging.getLogger(__name__)


def log_published(name: str, checksums: Mapping[Path, str]) -> None:
    """Log which files of a dataset are the published ones, if the dataset is known.

    Args:
        name: The name of the dataset.
        checksums: Per file its checksum.
    """
    for path, checksum in checksums.items():
        expected = PUBLISHED_SHA256.get(name, {}).get(path.name)
        if expected is not None:
            verdict = "is" if checksum == expected else "is not"
            _logger.info("%s %s the published file (SHA-256 %s)", path, verdict, checksum)
