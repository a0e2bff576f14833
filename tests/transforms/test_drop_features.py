from itertools import pairwise

import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import SEMANTIC, presence, validate_data
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.transforms import DropFeatures, ItemKNNGraph, MergeItemGraphs

BOTH = ("visual", "textual")


@pytest.fixture
def data() -> HeteroData:
    data = SyntheticMultimodal("tiny")[0].clone()
    data["item"].has_visual = torch.arange(80) % 5 != 0
    data["item"].x_visual[::5] = 0
    return data


def present(data: HeteroData, modality: str) -> set[int]:
    return set(presence(data, modality).nonzero().flatten().tolist())


@pytest.mark.parametrize("by", ["random", "unpopular"])
def test_takes_a_share_of_those_that_have_a_modality(data: HeteroData, by: str) -> None:
    before = data.clone()
    found = DropFeatures(0.3, by)(data)  # type: ignore[arg-type]
    validate_data(found)
    assert [len(present(found, m)) for m in BOTH] == [64 - 19, 80 - 24]
    for modality in BOTH:
        kept = sorted(present(found, modality))
        assert set(kept) <= present(before, modality)
        rows = found["item"][f"x_{modality}"]
        assert torch.equal(rows[kept], before["item"][f"x_{modality}"][kept])
        gone = sorted(set(range(80)) - set(kept))
        assert not rows[gone].any()
        assert torch.equal(data["item"][f"x_{modality}"], before["item"][f"x_{modality}"])
    lost = [present(before, m) - present(found, m) for m in BOTH]
    assert not lost[0] <= lost[1]  # Every modality by itself.


@pytest.mark.parametrize("by", ["random", "unpopular"])
def test_smaller_gaps_are_within_larger_ones(data: HeteroData, by: str) -> None:
    kept = [DropFeatures(share, by)(data) for share in (0, 0.2, 0.6, 1.0)]  # type: ignore[arg-type]
    for modality in BOTH:
        sets = [present(one, modality) for one in kept]
        assert sets[0] == present(data, modality) and sets[-1] == set()
        assert all(after < before for before, after in pairwise(sets))


def test_is_drawn_by_the_seed_alone(data: HeteroData) -> None:
    state = torch.random.get_rng_state()
    first, again, other = (DropFeatures(0.5, seed=seed)(data) for seed in (1, 1, 2))
    assert present(first, "textual") == present(again, "textual") != present(other, "textual")
    assert torch.equal(torch.random.get_rng_state(), state)
    # Others compare with these gaps: they stay what they are.
    assert sorted(set(range(80)) - present(DropFeatures(0.1)(data), "textual")) == [
        *(13, 35, 42, 44, 48, 49, 64, 70)
    ]


def test_unpopular_items_go_in_proportion(data: HeteroData) -> None:
    user = torch.arange(60)
    edges = data["user", "interacts", "item"]
    edges.edge_index = torch.stack([user, user % 40]).repeat(1, 2)  # Items 0 to 39 have 2 or 4.
    degree = torch.bincount(edges.edge_index[1], minlength=80)
    first = torch.zeros(80)
    for seed in range(3000):
        gone = DropFeatures(1 / 80, "unpopular", seed)(data)
        first += ~presence(gone, "textual")
    weight = 1 / (1 + degree.double())
    for number in (0, 2, 4):
        expected = 3000 * (weight[degree == number].sum() / weight.sum())
        assert abs(first[degree == number].sum() - expected) < 4 * expected.sqrt()


def test_graphs_are_made_again(data: HeteroData) -> None:
    made = MergeItemGraphs()(ItemKNNGraph(k=3)(data))
    found = DropFeatures(0.5)(made)
    assert not [kind for kind in found.edge_types if kind[0] == kind[2]]
    assert SEMANTIC in made.edge_types
    made["item", "visual_knn", "item"].pop("k")
    with pytest.raises(ValueError, match="item graph of your own"):
        DropFeatures(0.5)(made)


def test_refuses_what_is_none() -> None:
    with pytest.raises(ValueError, match=r"'share' needs to be between 0 and 1 \(got 1.2\)"):
        DropFeatures(1.2)
    with pytest.raises(ValueError, match="'by' needs to be 'random' or 'unpopular'"):
        DropFeatures(0.5, "popular")  # type: ignore[arg-type]
