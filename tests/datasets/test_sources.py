from typing import Any

import pytest

from mentor_pyg.data import ITEM, fingerprint
from mentor_pyg.datasets.sources import SYNTHETIC, read_source


def test_the_synthetic_set_is_always_the_same() -> None:
    assert fingerprint(read_source(SYNTHETIC)) == fingerprint(read_source(SYNTHETIC))


def test_folders(write_folder: Any) -> None:
    assert read_source(str(write_folder()))[ITEM].x_visual.shape == (12, 8)


def test_refuses_a_folder_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError, match="no data folder absent; correct its path"):
        read_source("absent")
