from pathlib import Path

from mentor_pyg.cli.sources import SYNTHETIC, read_source
from mentor_pyg.data import ITEM, fingerprint


def test_the_synthetic_set_is_always_the_same() -> None:
    assert fingerprint(read_source(SYNTHETIC)) == fingerprint(read_source(SYNTHETIC))


def test_folders(folder: Path) -> None:
    assert read_source(str(folder))[ITEM].x_visual.shape == (80, 24)
