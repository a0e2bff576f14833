import os
from collections.abc import Iterator
from typing import Any

import pytest

if (workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
    # Before torch, and for commands that tests start: workers share the cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

import torch

if not torch.cuda.is_available():
    # Before PyG, which imports Triton: without a GPU, its interpreter runs the kernels.
    os.environ.setdefault("TRITON_INTERPRET", "1")

from torch_geometric.data import HeteroData

from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.graph import Adjacency
from mentor_pyg.ops import BACKENDS


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    """Let no test depend on those before it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep item graphs out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_dataset() -> SyntheticMultimodal:
    return SyntheticMultimodal(size="tiny", seed=0)


@pytest.fixture
def tiny_data(tiny_dataset: SyntheticMultimodal) -> HeteroData:
    """A small dataset of its own, which the test may change."""
    return tiny_dataset[0].clone()


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Any:
    """Every backend in turn, skipped where it is not installed or compiled."""
    if request.param == "triton":
        own = "tests/ops/propagation/test_triton_csr.py"
        pytest.skip(f"runs on CUDA or, slowly, interpreted: {own} has its own")
    adjacency = Adjacency.from_edge_index(torch.tensor([[0], [0]]), num_nodes=1)
    if reason := BACKENDS[request.param].unavailable(adjacency, torch.ones(1, 1)):
        pytest.skip(reason)
    return request.param
