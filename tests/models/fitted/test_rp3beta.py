import numpy as np
import pytest
from torch_geometric.data import HeteroData

from mentor_pyg.models import RP3Beta, RP3BetaConfig
from tests.models.fitted.dense import scores, top


@pytest.mark.parametrize(("alpha", "beta", "k"), [(1, 0, 1000), (0.6, 0.3, 1000), (1, 0.4, 5)])
def test_equals_walks_one_by_one(
    alpha: float, beta: float, k: int, tiny_data: HeteroData, x: np.ndarray
) -> None:
    config = RP3BetaConfig(alpha=alpha, beta=beta, k=k)
    found = scores(RP3Beta.from_data(tiny_data, config).fit(tiny_data), tiny_data)
    of_user, of_item = x.sum(axis=1), x.sum(axis=0)
    weight = np.zeros((x.shape[1], x.shape[1]))
    for user, start in np.argwhere(x):
        for end in np.flatnonzero(x[user]):
            step = (1 / of_item[start]) ** alpha * (1 / of_user[user]) ** alpha
            weight[start, end] += step / of_item[end] ** beta
    assert found == pytest.approx(x @ top(weight, k), abs=1e-5)
