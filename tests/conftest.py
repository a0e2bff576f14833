import os
from collections.abc import Iterator

import pytest
import torch

if not torch.cuda.is_available():
    # Before PyG, which imports Triton: without a GPU, its interpreter runs the kernels.
    os.environ.setdefault("TRITON_INTERPRET", "1")

from torch_geometric.data import HeteroData

from mentor_pyg.datasets import SyntheticMultimodal


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    """Let no test depend on those before it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session")
def tiny_dataset() -> SyntheticMultimodal:
    return SyntheticMultimodal(size="tiny", seed=0)


@pytest.fixture
def tiny_data(tiny_dataset: SyntheticMultimodal) -> HeteroData:
    """A small dataset of its own, which the test may change."""
    return tiny_dataset[0].clone()
