import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.preprocessing import normalize
from torch import Tensor
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from mentor_pyg.graph import normalize_rows, normalize_similarity, normalize_symmetric

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


def test_similarities_are_divided_by_the_row_sums_of_both_ends() -> None:
    edge_index = torch.tensor([[0, 1, 2, 0, 3], [0, 0, 1, 2, 1]])
    similarity = torch.tensor([1.0, 0.5, 0.8, 0.4, -0.2], dtype=torch.float64, requires_grad=True)

    def dense(weight: Tensor) -> Tensor:
        out = weight.new_zeros(4, 4)
        return out.index_put((edge_index[1], edge_index[0]), weight)

    def expected(similarity: Tensor) -> Tensor:
        matrix = dense(similarity)
        scale = torch.cat([matrix.sum(dim=1)[:3].rsqrt(), matrix.new_zeros(1)])  # Row 3 is empty.
        return scale[:, None] * matrix * scale

    actual = dense(normalize_similarity(edge_index, similarity, 4))
    torch.testing.assert_close(actual, expected(similarity))
    weight = torch.randn_like(actual)
    (grad,) = torch.autograd.grad((actual * weight).sum(), similarity)
    (theirs,) = torch.autograd.grad((expected(similarity) * weight).sum(), similarity)
    torch.testing.assert_close(grad, theirs)


def test_similarities_that_sum_to_less_than_nothing_give_zeros() -> None:
    edge_index, similarity = torch.tensor([[0, 1], [0, 1]]), torch.tensor([-4.0, 4.0])
    assert normalize_similarity(edge_index, similarity, 3).tolist() == [0, 1]
