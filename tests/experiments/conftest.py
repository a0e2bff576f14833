import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import copy_folder

PLAN = """
data: {tiny: DATA}
models:
  popularity: {}
  item_knn:
    search: {settings.k: [5, 20], settings.shrink: {from: 0.0, to: 50.0}}
  lightgcn:
    settings: {embedding_dim: 8}
    search: {settings.num_layers: [1, 2], training.lr: {from: 1.0e-3, to: 1.0e-1, scale: log}}
training: {epochs: 12, patience: 12, device: cpu, k: [5, 10]}
seeds: [3, 4]
trials: 4
"""


@pytest.fixture
def write_plan(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a plan, parts of it replaced by others."""
    data = copy_folder(tmp_path / "data")

    def write(*changes: tuple[str, str]) -> Path:
        text = textwrap.dedent(PLAN).replace("DATA", str(data))
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "plan.yaml"
        path.write_text(text)
        return path

    return write
