import time

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import (
    INTERACTS,
    REV_INTERACTS,
    SEMANTIC,
    edge_label_index,
    fingerprint,
    modalities,
    num_items,
    num_users,
    presence,
    validate_data,
)
from mentor_pyg.datasets import SYNTHETIC_SIZES, SyntheticMultimodal, SyntheticSize
from mentor_pyg.transforms import ItemKNNGraph, MergeItemGraphs


def all_interactions(data: HeteroData) -> Tensor:
    return torch.cat([edge_label_index(data, split) for split in ("train", "val", "test")], dim=1)


def check_size(data: HeteroData, size: SyntheticSize) -> None:
    validate_data(data)
    assert (num_users(data), num_items(data)) == (size.num_users, size.num_items)
    for split, count in (("train", size.num_train), ("val", size.num_val), ("test", size.num_test)):
        index = edge_label_index(data, split)  # type: ignore[arg-type]
        assert index.size(1) == count
        assert index[0].unique().numel() == size.num_users
    user, item = all_interactions(data)
    assert (user * size.num_items + item).unique().numel() == user.numel()
    assert int(torch.bincount(user).min()) >= 5
    for modality in modalities(data):
        expected = (size.num_items, size.channels.get(modality, size.default_channels))
        assert data["item"][f"x_{modality}"].shape == expected


@pytest.mark.parametrize("size", ["tiny", "demo"])
def test_meets_its_size(size: str) -> None:
    dataset = SyntheticMultimodal(size)
    assert len(dataset) == 1
    assert repr(dataset) == f"SyntheticMultimodal({size}, seed=0)"
    check_size(dataset[0], SYNTHETIC_SIZES[size])


@pytest.mark.slow
def test_baby_has_the_counts_of_the_real_data() -> None:
    start = time.perf_counter()
    data = SyntheticMultimodal("baby")[0]
    assert time.perf_counter() - start < 60
    check_size(data, SYNTHETIC_SIZES["baby"])
    counts = [edge_label_index(data, split).size(1) for split in ("train", "val", "test")]
    assert (num_users(data), num_items(data), *counts) == (19_445, 7_050, 118_551, 20_559, 21_682)
    assert data["item"].x_visual.shape == (7_050, 4_096)
    assert data["item"].x_textual.shape == (7_050, 384)


def test_baby_size_is_that_of_the_real_data() -> None:
    size = SYNTHETIC_SIZES["baby"]
    counts = (size.num_users, size.num_items, size.num_train, size.num_val, size.num_test)
    assert counts == (19_445, 7_050, 118_551, 20_559, 21_682)
    assert size.channels == {"visual": 4_096, "textual": 384}


def test_seed_decides_everything() -> None:
    first, again, other = (SyntheticMultimodal("tiny", seed=seed)[0] for seed in (3, 3, 4))
    assert fingerprint(first) == fingerprint(again)
    assert not torch.equal(first[INTERACTS].edge_index, other[INTERACTS].edge_index)
    assert not torch.equal(first["item"].x_visual, other["item"].x_visual)


def test_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    SyntheticMultimodal("tiny")
    assert torch.equal(before, torch.get_rng_state())


def test_degrees_have_heavy_tails() -> None:
    user, item = all_interactions(SyntheticMultimodal("demo")[0])
    for node, count in ((user, 1_500), (item, 800)):
        degree = torch.bincount(node, minlength=count).sort(descending=True).values.double()
        assert degree[: count // 10].sum() / degree.sum() > 0.25
        assert degree[0] > 6 * degree.median()


@pytest.mark.parametrize("modality", ["visual", "textual"])
def test_features_carry_signal(modality: str) -> None:
    data = SyntheticMultimodal("demo")[0]
    x = F.normalize(data["item"][f"x_{modality}"])
    user, item = data[INTERACTS].edge_index
    same_user = user[1:] == user[:-1]
    shared = (x[item[1:][same_user]] * x[item[:-1][same_user]]).sum(dim=1).mean()
    assert shared > 0.1 + (x @ x.t()).mean()


def test_neighbours_predict_held_out_interactions() -> None:
    made = ItemKNNGraph(10, cache=False)(SyntheticMultimodal("demo")[0])
    data = MergeItemGraphs()(made)
    seen = torch.zeros(num_users(data), num_items(data))
    seen[tuple(data[INTERACTS].edge_index)] = 1
    graph = torch.zeros(num_items(data), num_items(data))
    graph[tuple(data[SEMANTIC].edge_index)] = data[SEMANTIC].edge_weight
    score = (seen @ graph).masked_fill(seen > 0, -1)
    top = score.topk(20).indices
    user, item = data[INTERACTS].test_edge_label_index
    hit_rate = (top[user] == item[:, None]).any(dim=1).float().mean()
    assert hit_rate > 2 * 20 / num_items(data)


@pytest.mark.parametrize("names", [(), ("visual",), ("textual", "acoustic"), ("a", "b", "visual")])
def test_any_modalities(names: tuple[str, ...]) -> None:
    data = SyntheticMultimodal("tiny", modalities=names)[0]
    assert set(modalities(data)) == set(names)
    assert data.edge_types == [INTERACTS, REV_INTERACTS]  # facts only
    check_size(data, SYNTHETIC_SIZES["tiny"])


def test_missing_share() -> None:
    data = SyntheticMultimodal("tiny", missing=0.25)[0]
    for modality in ("visual", "textual"):
        present = presence(data, modality)
        assert int(present.sum()) == 60
        assert not data["item"][f"x_{modality}"][~present].any()
    assert not torch.equal(data["item"].has_visual, data["item"].has_textual)


def test_custom_size() -> None:
    size = SyntheticSize(num_users=10, num_items=40, num_train=30, num_val=10, num_test=15)
    data = SyntheticMultimodal(size)[0]
    check_size(data, size)
    assert "num_users=10" in repr(SyntheticMultimodal(size))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "huge"}, r"'size'.*\['baby', 'demo', 'tiny'\].*'huge'"),
        ({"missing": 1.0}, "'missing'.*below 1"),
        ({"missing": -0.1}, "'missing'.*at least 0"),
        ({"modalities": ("visual", "visual")}, "'modalities'.*once"),
        ({"modalities": ("id",)}, "'modalities'.*'id'"),
    ],
)
def test_refuses_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SyntheticMultimodal(**{"size": "tiny", **arguments})  # type: ignore[arg-type]


def test_refuses_one_name_as_modalities() -> None:
    with pytest.raises(TypeError, match=r"'modalities'.*sequence.*'visual'"):
        SyntheticMultimodal("tiny", modalities="visual")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((30, 9, 11), "'num_val' and 'num_test'.*10"),
        ((20, 10, 10), "sum from 50 to 100"),
        ((90, 10, 10), "sum from 50 to 100"),
    ],
)
def test_refuses_sizes(counts: tuple[int, int, int], message: str) -> None:
    train, val, test = counts
    with pytest.raises(ValueError, match=message):
        SyntheticSize(num_users=10, num_items=40, num_train=train, num_val=val, num_test=test)
