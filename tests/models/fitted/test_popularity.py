import numpy as np
from torch_geometric.data import HeteroData

from mentor_pyg.models import Popularity
from tests.models.fitted.dense import scores


def test_ranks_by_train_interactions(tiny_data: HeteroData, x: np.ndarray) -> None:
    found = scores(Popularity.from_data(tiny_data).fit(tiny_data), tiny_data)
    assert (found == x.sum(axis=0)).all()
    assert found.shape == x.shape
