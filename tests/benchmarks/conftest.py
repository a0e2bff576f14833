import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# The benchmarks are scripts: they import each other as siblings.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from cases import Setting
from dataset import make_setting


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Cases set the number of threads, and tests after them want theirs back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """The tiny dataset, one sample of everything."""
    scratch = tmp_path_factory.mktemp("benchmarks")
    options = {"threads": 1, "repeats": 1, "epoch_steps": 1}
    return make_setting(None, "tiny", scratch, **options)
