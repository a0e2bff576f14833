from typing import Any

import pytest
import torch

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops import BACKENDS


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Any:
    """Every backend in turn, skipped where it is not installed or compiled."""
    if request.param == "triton" and not torch.cuda.is_available():
        pytest.skip("Triton's interpreter is too slow for these; test_triton_csr.py has its own")
    adjacency = Adjacency.from_edge_index(torch.tensor([[0], [0]]), num_nodes=1)
    if reason := BACKENDS[request.param].unavailable(adjacency, torch.ones(1, 1)):
        pytest.skip(reason)
    return request.param
