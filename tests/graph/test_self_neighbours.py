import torch

from mentor_pyg.graph import with_self_neighbours


def test_the_least_similar_neighbour_makes_room() -> None:
    # Node 2 has no neighbours; edges come in any order.
    edge_index = torch.tensor([[2, 1, 0, 3, 2, 0], [0, 0, 1, 1, 3, 3]])
    similarity = torch.tensor([0.2, 0.5, 0.9, -0.1, 0.3, 0.3])
    found = with_self_neighbours(edge_index, similarity)
    pairs = set(zip(*found.tolist(), strict=True))
    assert pairs - {(2, 3), (0, 3)} == {(1, 0), (0, 0), (0, 1), (1, 1), (3, 3)}
    assert len(pairs) == found.size(1) == 6


def test_nothing_stays_nothing() -> None:
    empty = with_self_neighbours(torch.empty(2, 0, dtype=torch.long), torch.empty(0))
    assert empty.shape == (2, 0)
