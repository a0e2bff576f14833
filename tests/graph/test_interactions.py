import torch

from mentor_pyg.graph import interaction_adjacency
from mentor_pyg.graph.interactions import joint_edges
from mentor_pyg.ops import propagate

USERS, ITEMS = 6, 12


def test_joint_edges_go_to_items_and_back() -> None:
    edges = joint_edges(torch.tensor([[0, 4, 1], [3, 0, 3]]), USERS)
    assert edges.tolist() == [[0, 4, 1, 9, 6, 9], [9, 6, 9, 0, 4, 1]]


def test_is_the_normalised_joint_matrix() -> None:
    # The last user and the last item have no interactions.
    edge_index = (torch.rand(USERS - 1, ITEMS - 1) < 0.4).nonzero().t().contiguous()
    block = torch.zeros(USERS, ITEMS, dtype=torch.float64)
    block[tuple(edge_index)] = 1.0
    joint = torch.zeros(USERS + ITEMS, USERS + ITEMS, dtype=torch.float64)
    joint[:USERS, USERS:], joint[USERS:, :USERS] = block, block.t()
    scale = joint.sum(dim=1).pow(-0.5).nan_to_num(posinf=0.0).diag()
    adjacency = interaction_adjacency(edge_index, USERS, ITEMS)
    torch.testing.assert_close(adjacency.to_dense(), (scale @ joint @ scale).float())
    assert adjacency.is_symmetric


def test_built_in_inference_mode_it_trains_all_the_same(backend: str) -> None:
    edge_index = torch.tensor([[0, 1, 1, 4], [3, 3, 0, 11]])
    x = torch.randn(USERS + ITEMS, 3, requires_grad=True)
    with torch.inference_mode():
        adjacency = interaction_adjacency(edge_index, USERS, ITEMS)
        propagate(adjacency, x, backend)
    propagate(interaction_adjacency(edge_index, USERS, ITEMS), x, backend).sum().backward()
    expected = adjacency.to_dense().sum(dim=0)
    torch.testing.assert_close(x.grad, expected[:, None].expand(-1, 3))


def test_edges_between_items_are_normalised_by_what_comes_in() -> None:
    interactions = torch.tensor([[0, 0, 1], [0, 1, 1]])
    # Into item 0 from items 1 and 2; into item 2 from item 1.
    joint = interaction_adjacency(interactions, 2, 3, torch.tensor([[1, 2, 1], [0, 0, 2]]))
    degree = torch.tensor([2.0, 1.0, 3.0, 2.0, 1.0])
    expected = torch.zeros(5, 5)
    for target, source in ((0, 2), (0, 3), (1, 3), (2, 3), (2, 4), (4, 3)):
        expected[target, source] = (degree[target] * degree[source]).rsqrt()
    for item, user in ((2, 0), (3, 0), (3, 1)):
        expected[item, user] = (degree[item] * degree[user]).rsqrt()
    torch.testing.assert_close(joint.to_dense(), expected)
    assert not joint.is_symmetric


def test_without_edges_between_items_it_is_the_interactions() -> None:
    interactions = torch.tensor([[0, 0, 1], [0, 1, 1]])
    none = interaction_adjacency(interactions, 2, 3, torch.empty(2, 0, dtype=torch.long))
    plain = interaction_adjacency(interactions, 2, 3)
    torch.testing.assert_close(none.to_dense(), plain.to_dense())
