import numpy as np
import pytest
from torch_geometric.data import HeteroData

from tests.models.fitted.dense import dense


@pytest.fixture
def x(tiny_data: HeteroData) -> np.ndarray:
    """The train interactions, dense."""
    return dense(tiny_data)
