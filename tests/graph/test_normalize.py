import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.preprocessing import normalize
from torch import Tensor
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from mentor_pyg.graph import normalize_rows, normalize_symmetric

USERS, ITEMS = 12, 9


@pytest.fixture
def edge_index() -> Tensor:
    """Distinct interactions; the last user and item have none."""
    dense = torch.rand(USERS - 1, ITEMS - 1) < 0.3
    return dense.nonzero().t()


def joint(edge_index: Tensor) -> Tensor:
    user, item = edge_index[0], edge_index[1] + USERS
    return torch.stack([torch.cat([user, item]), torch.cat([item, user])])


def test_symmetric_equals_gcn_norm(edge_index: Tensor) -> None:
    both = joint(edge_index)
    _, expected = gcn_norm(both, num_nodes=USERS + ITEMS, add_self_loops=False)
    weight = normalize_symmetric(both, USERS + ITEMS)
    torch.testing.assert_close(weight, expected)
    assert weight.dtype == torch.float32


def test_bipartite_equals_the_block_of_the_joint_graph(edge_index: Tensor) -> None:
    weight = normalize_symmetric(edge_index, (USERS, ITEMS))
    both = normalize_symmetric(joint(edge_index), USERS + ITEMS)
    assert torch.equal(torch.cat([weight, weight]), both)


def test_rows_equals_sklearn(edge_index: Tensor) -> None:
    source, target = edge_index.numpy()
    binary = scipy.sparse.coo_matrix((np.ones(source.size), (target, source)), (ITEMS, USERS))
    weight = normalize_rows(edge_index, ITEMS)
    found = scipy.sparse.coo_matrix((weight.numpy(), (target, source)), (ITEMS, USERS))
    np.testing.assert_allclose(
        found.toarray(), normalize(binary.tocsr(), norm="l1").toarray(), rtol=1e-6
    )


@pytest.mark.parametrize("eps", [0.0, 1e-7, 0.5])
def test_rows_equals_a_naive_loop(edge_index: Tensor, eps: float) -> None:
    targets = edge_index[1].tolist()
    expected = [1 / (targets.count(target) + eps) for target in targets]
    torch.testing.assert_close(normalize_rows(edge_index, ITEMS, eps), torch.tensor(expected))


def test_no_edges() -> None:
    empty = torch.empty(2, 0, dtype=torch.long)
    assert normalize_symmetric(empty, 3).shape == (0,)
    assert normalize_symmetric(empty, (3, 0)).shape == (0,)
    assert normalize_rows(empty, 3).shape == (0,)
