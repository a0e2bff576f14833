"""A small valid interaction folder that tests then break."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

NUM_USERS, NUM_ITEMS = 6, 12
HEADER = "userID\titemID\tx_label"

WriteFolder = Callable[..., Path]


def inter_rows() -> list[str]:
    """Five interactions per user, three of them for training; every item occurs."""
    return [
        f"{user}\t{(2 * user + step) % NUM_ITEMS}\t{label}"
        for user in range(NUM_USERS)
        for step, label in enumerate((0, 0, 0, 1, 2))
    ]


def feature_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "image_feat.npy": rng.normal(size=(NUM_ITEMS, 8)).astype(np.float32),
        "text_feat.npy": rng.normal(size=(NUM_ITEMS, 6)),
    }


@pytest.fixture
def write_folder(tmp_path: Path) -> WriteFolder:
    """Write a folder; what is given replaces the valid content."""

    def write(
        *,
        rows: list[str] | None = None,
        header: str = HEADER,
        features: Mapping[str, np.ndarray] | None = None,
        name: str = "small",
        folder: str = "data",
    ) -> Path:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        lines = [header, *(inter_rows() if rows is None else rows)]
        (root / f"{name}.inter").write_text("\n".join(lines) + "\n")
        for file, array in (feature_arrays() if features is None else features).items():
            np.save(root / file, array)
        return root

    return write
