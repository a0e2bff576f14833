import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.sampling import UniformNegativeSampler

NUM_USERS, NUM_ITEMS = 5, 8
# Items 2 and 6 occur nowhere; user 3 has no interactions; user 4 has all candidates but one.
EDGES = {0: [0, 3], 1: [7], 2: [1, 4, 5], 4: [0, 1, 3, 5, 7]}
CANDIDATES = {0, 1, 3, 4, 5, 7}


def edge_index_of(edges: dict[int, list[int]]) -> Tensor:
    pairs = [(user, item) for user, items in edges.items() for item in items]
    return torch.tensor(pairs).t()


@pytest.fixture
def sampler() -> UniformNegativeSampler:
    return UniformNegativeSampler(edge_index_of(EDGES), NUM_USERS, NUM_ITEMS)


@pytest.mark.parametrize("user", range(NUM_USERS))
def test_uniform_over_unseen_candidates(user: int, sampler: UniformNegativeSampler) -> None:
    generator = torch.Generator().manual_seed(user)
    draws = 6_000
    drawn = sampler.sample(torch.full((draws,), user), generator)
    unseen = sorted(CANDIDATES.difference(EDGES.get(user, [])))
    count = torch.bincount(drawn, minlength=NUM_ITEMS)
    assert count[unseen].sum() == draws
    if len(unseen) > 1:
        assert chisquare(count[unseen].numpy()).pvalue > 1e-3


def test_never_a_positive() -> None:
    data = SyntheticMultimodal("tiny")[0]
    edge_index = data["user", "interacts", "item"].edge_index
    sampler = UniformNegativeSampler(edge_index, data["user"].num_nodes, data["item"].num_nodes)
    user = edge_index[0].repeat(50)
    item = sampler.sample(user)
    seen = set(map(tuple, edge_index.t().tolist()))
    assert seen.isdisjoint(zip(user.tolist(), item.tolist(), strict=True))
    # Given enough draws, all candidates come up.
    assert set(item.tolist()) == set(edge_index[1].tolist())


def test_order_and_duplicates_do_not_matter(sampler: UniformNegativeSampler) -> None:
    edge_index = edge_index_of(EDGES)
    shuffled = torch.cat([edge_index.flip(1), edge_index[:, ::3], edge_index[:, :2]], dim=1)
    other = UniformNegativeSampler(shuffled, NUM_USERS, NUM_ITEMS)
    user = torch.arange(NUM_USERS).repeat(200)
    first, second = (s.sample(user, torch.Generator().manual_seed(0)) for s in (sampler, other))
    assert torch.equal(first, second)


def test_generator_decides(sampler: UniformNegativeSampler) -> None:
    user = torch.zeros(100, dtype=torch.long)
    first, same, other = (
        sampler.sample(user, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_default_generator(sampler: UniformNegativeSampler) -> None:
    user = torch.zeros(100, dtype=torch.long)
    torch.manual_seed(0)
    first = sampler.sample(user)
    torch.manual_seed(0)
    assert torch.equal(sampler.sample(user), first)


def test_largest_draw_stays_in_range(
    sampler: UniformNegativeSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = torch.arange(NUM_USERS)
    below_one = 1 - torch.finfo(torch.float64).eps / 2
    for value, end in ((below_one, -1), (0.0, 0)):
        monkeypatch.setattr(
            torch, "rand", lambda *size, value=value, **_: torch.full(*size, value).double()
        )
        expected = [sorted(CANDIDATES.difference(EDGES.get(int(u), [])))[end] for u in user]
        assert sampler.sample(user).tolist() == expected


def test_empty_batch(sampler: UniformNegativeSampler) -> None:
    assert sampler.sample(torch.empty(0, dtype=torch.long)).shape == (0,)


def test_refuses_no_interactions() -> None:
    with pytest.raises(ValueError, match="at least one interaction"):
        UniformNegativeSampler(torch.empty(2, 0, dtype=torch.long), 3, 3)


def test_refuses_user_without_negatives() -> None:
    edge_index = edge_index_of({0: [0], 1: [0, 2, 2]})
    with pytest.raises(ValueError, match="user 1 has interacted with all 2 items"):
        UniformNegativeSampler(edge_index, 2, 5)
