import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS
from mentor_pyg.models import principal_graph
from mentor_pyg.models.principal_graph import principal_adjacency
from tests.models.dense import Matrix, interaction_matrix, numbers, seeded

USERS, ITEMS = 17, 12
COLD_USER, COLD_ITEM = 3, 7


@pytest.fixture(scope="module")
def data() -> HeteroData:
    """One user and one item have no interactions; all others hang together."""
    joined = torch.rand(USERS, ITEMS, generator=seeded(4)) < 0.3
    joined[0] = joined[:, 0] = True
    joined[COLD_USER], joined[:, COLD_ITEM] = False, False
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = USERS, ITEMS
    edge_index = joined.nonzero().t()
    data[INTERACTS].edge_index = edge_index[:, torch.randperm(edge_index.size(1))]
    return data


def reference(data: HeteroData, r: int, p: int, threshold: float) -> Matrix:
    """Return the graph made of the singular vectors of users and items jointly.

    There every singular value of the interactions is twice, one beside the other.
    """
    joint = numbers(interaction_matrix(data[INTERACTS].edge_index, USERS, ITEMS))
    left, value, right = np.linalg.svd(joint)
    out = np.zeros_like(joint)
    for j in range(2 * p):
        weight = value[j] * value[2 * (r - p) + j]
        out += weight * np.outer(left[:, j], right[j])
    return np.where(abs(out) >= threshold, out, 0)


@pytest.mark.parametrize(("r", "p"), [(1, 1), (4, 1), (6, 3), (5, 5), (11, 4), (12, 12)])
@pytest.mark.parametrize("threshold", [1e-6, 0.02, 0.1])
@pytest.mark.parametrize("block", [2**22, 30])
def test_equals_the_singular_vectors_of_users_and_items_jointly(
    data: HeteroData, r: int, p: int, threshold: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(principal_graph, "_BLOCK", block)
    graph = principal_adjacency(data, r, p, threshold)
    expected = reference(data, r, p, threshold)
    np.testing.assert_allclose(numbers(graph.to_dense()), expected, rtol=0, atol=1e-6)
    assert graph.num_edges == np.count_nonzero(abs(expected) > 1e-9)
    assert graph.is_symmetric


def test_holds_edges_of_either_sign_and_none_of_the_cold(data: HeteroData) -> None:
    graph = principal_adjacency(data, 6, 3, 0.02)
    assert graph.weight.min() <= -0.02
    assert graph.weight.abs().min() >= 0.02
    assert not {COLD_USER, USERS + COLD_ITEM} & set(graph.col.tolist())


@pytest.mark.parametrize("threshold", [0.02, 0.05, 0.2])
def test_has_no_more_edges_than_the_bound(data: HeteroData, threshold: float) -> None:
    matrix = interaction_matrix(data[INTERACTS].edge_index, USERS, ITEMS)[:USERS, USERS:]
    value = torch.linalg.svdvals(matrix)
    bound = (value[:3] * value[3:6]).square().sum() / threshold**2
    assert principal_adjacency(data, 6, 3, threshold).num_edges / 2 <= bound


def test_takes_all_singular_values_where_there_are_fewer(data: HeteroData) -> None:
    found = principal_adjacency(data, 99, 50, 0.01)
    everything = principal_adjacency(data, ITEMS, ITEMS, 0.01)
    torch.testing.assert_close(found.to_dense(), everything.to_dense())


def in_two(data: HeteroData) -> HeteroData:
    """Return the data twice beside each other, so that every singular value is twice."""
    double = data.clone()
    double["user"].num_nodes, double["item"].num_nodes = 2 * USERS, 2 * ITEMS
    edge_index = data[INTERACTS].edge_index
    shift = torch.tensor([[USERS], [ITEMS]])
    double[INTERACTS].edge_index = torch.cat([edge_index, edge_index + shift], dim=1)
    return double


def test_finds_both_of_two_equal_singular_values(data: HeteroData) -> None:
    # With p = r, both of two equal ones weigh the same, and then any basis will do.
    dense = numbers(principal_adjacency(in_two(data), 6, 6, 1e-6).to_dense())
    half = reference(data, 3, 3, 1e-6)[:USERS, USERS:]
    expected = np.zeros((2 * USERS, 2 * ITEMS))
    expected[:USERS, :ITEMS] = expected[USERS:, ITEMS:] = half
    np.testing.assert_allclose(dense[: 2 * USERS, 2 * USERS :], expected, rtol=0, atol=1e-6)


def test_is_the_same_every_time(data: HeteroData) -> None:
    first, second = (principal_adjacency(in_two(data), 6, 3, 0.01) for _ in range(2))
    assert torch.equal(first.col, second.col)
    assert torch.equal(first.weight, second.weight)
