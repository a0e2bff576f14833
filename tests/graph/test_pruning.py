import pytest
import torch
from torch import Tensor

from mentor_pyg.graph import Pruning, prune_interactions

USERS, ITEMS = 4, 5


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def edge_index() -> Tensor:
    """User 0 and item 0 are popular; user 3 and item 4 have no interactions."""
    return torch.tensor([[0, 0, 0, 0, 1, 2], [0, 1, 2, 3, 0, 0]])


def as_set(edge_index: Tensor) -> set[tuple[int, ...]]:
    return set(zip(*edge_index.tolist(), strict=True))


@pytest.mark.parametrize(
    ("ratio", "size", "kept"),
    [(0.1, 10, 9), (0.8, 10, 2), (0.9, 1000, 100), (0.99, 3, 1), (0.0, 3, 3), (0.01, 3, 3)],
)
def test_keeps_as_many_as_asked_each_once(ratio: float, size: int, kept: int) -> None:
    edges = torch.stack([torch.arange(size), torch.arange(size).flip(0)])
    for by in ("degree", "uniform"):
        found = prune_interactions(edges, size, size, ratio, seeded(1), by)
        assert found.shape == (2, kept)
        assert len(as_set(found)) == kept
        assert as_set(found) <= as_set(edges)
        assert (found[0].diff() > 0).all()  # In the order in which they came.


def test_is_a_function_of_the_generator(edge_index: Tensor) -> None:
    found = [prune_interactions(edge_index, USERS, ITEMS, 0.5, seeded(s)) for s in (*range(9), 3)]
    assert torch.equal(found[3], found[-1])
    assert len({tuple(one.flatten().tolist()) for one in found}) > 2


@pytest.mark.parametrize("by", ["degree", "uniform"])
def test_draws_with_the_probabilities_of_its_formula(edge_index: Tensor, by: Pruning) -> None:
    # The first and the second of two that are kept, one after another without replacement.
    user_degree = {0: 4, 1: 1, 2: 1}
    item_degree = {0: 3, 1: 1, 2: 1, 3: 1}
    pairs = list(zip(*edge_index.tolist(), strict=True))
    weight = [
        1.0 if by == "uniform" else (user_degree[u] * item_degree[i]) ** -0.5 for u, i in pairs
    ]
    total = sum(weight)
    expected = torch.zeros(len(pairs))
    for first in range(len(pairs)):
        for second in range(len(pairs)):
            if second != first:
                chance = weight[first] / total * weight[second] / (total - weight[first])
                expected[first] += chance
                expected[second] += chance
    generator, counts, draws = seeded(0), torch.zeros(len(pairs)), 8000
    for _ in range(draws):
        kept = as_set(prune_interactions(edge_index, USERS, ITEMS, 4 / 6, generator, by))
        counts += torch.tensor([float(pair in kept) for pair in pairs])
    # Five standard deviations of a share of 8000 draws are .028 at most.
    torch.testing.assert_close(counts / draws, expected, rtol=0, atol=0.028)


def test_nothing_can_be_pruned_of_nothing() -> None:
    empty = torch.empty(2, 0, dtype=torch.long)
    assert prune_interactions(empty, USERS, ITEMS, 0.5, seeded(0)).shape == (2, 0)


def test_refuses_what_is_out_of_range(edge_index: Tensor) -> None:
    with pytest.raises(ValueError, match=r"'prune_ratio' needs to be in \[0, 1\) \(got 1\.0\)"):
        prune_interactions(edge_index, USERS, ITEMS, 1.0, seeded(0))
    with pytest.raises(ValueError, match=r"'by' needs to be one of \['degree', 'uniform'\] \(got "):
        prune_interactions(edge_index, USERS, ITEMS, 0.5, seeded(0), "random")  # type: ignore[arg-type]
