from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import edge_label_index, num_items, validate_data
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.evaluation import AmongItems, cold_items, hold_out_items, recall_by_item_group
from mentor_pyg.models import BPRMF
from mentor_pyg.transforms import ItemKNNGraph

SPLITS = ("train", "val", "test")


@pytest.fixture
def data() -> HeteroData:
    """The tiny set, whose items are told apart by their features and original ids."""
    data = SyntheticMultimodal("tiny")[0].clone()
    data["item"].x_visual[:, 0] = torch.arange(80.0)
    data["item"].raw_id = [f"sku-{item}" for item in range(80)]
    edges = data["user", "interacts", "item"]
    edges.rating = 100.0 * edges.edge_index[0] + edges.edge_index[1]
    data["item"].has_textual = torch.arange(80) % 7 != 0
    data["item"].x_textual[::7] = 0
    return data


def pairs(data: HeteroData, split: str) -> set[tuple[int, str]]:
    names = data["item"].raw_id
    return {(user, names[item]) for user, item in edge_label_index(data, split).T.tolist()}  # type: ignore[arg-type]


def test_every_interaction_of_an_item_that_is_held_out_leaves_train(data: HeteroData) -> None:
    warm, whole = hold_out_items(data, share=0.25, seed=3)
    validate_data(whole)
    validate_data(warm)
    names, count = whole["item"].raw_id, num_items(warm)
    held_out = set(names[count:])
    interacted = {name for split in SPLITS for _, name in pairs(data, split)}
    assert len(held_out) == len(interacted) // 4 and held_out <= interacted
    assert sorted(names) == sorted(data["item"].raw_id) and warm["item"].raw_id == names[:count]
    assert {names[i] for i in cold_items(whole).nonzero().flatten().tolist()} >= held_out
    together = set().union(*(pairs(data, split) for split in SPLITS))
    assert set().union(*(pairs(whole, split) for split in SPLITS)) == together
    for split in SPLITS:
        of_warm = {pair for pair in pairs(data, split) if pair[1] not in held_out}
        assert {pair for pair in pairs(whole, split) if pair[1] not in held_out} == of_warm
        assert pairs(warm, split) == of_warm
    assert pairs(whole, "train") == pairs(warm, "train")


def test_half_of_them_are_for_validation_and_the_others_for_test(data: HeteroData) -> None:
    warm, whole = hold_out_items(data, share=0.25, seed=3)
    held_out = whole["item"].raw_id[num_items(warm) :]
    in_val, in_test = (
        {name for _, name in pairs(whole, split) if name in held_out} for split in ("val", "test")
    )
    assert not in_val & in_test and in_val | in_test == set(held_out)
    assert abs(len(in_val) - len(in_test)) <= 1


def test_what_belongs_to_an_item_moves_with_it(data: HeteroData) -> None:
    warm, whole = hold_out_items(data, share=0.25, seed=3)
    for found in (warm, whole):
        number = [int(name.removeprefix("sku-")) for name in found["item"].raw_id]
        assert found["item"].x_visual[:, 0].tolist() == number
        assert found["item"].has_textual.tolist() == [n % 7 != 0 for n in number]
        edges = found["user", "interacts", "item"]
        assert edges.rating.tolist() == [
            100.0 * user + number[item] for user, item in edges.edge_index.T.tolist()
        ]
        order = edges.edge_index[0] * len(number) + edges.edge_index[1]
        assert (order.diff() > 0).all()


def test_is_drawn_by_the_seed_alone(data: HeteroData) -> None:
    before = data.clone()
    state = torch.random.get_rng_state()
    first, again, other = (hold_out_items(data, 0.25, seed)[1] for seed in (0, 0, 1))
    assert first["item"].raw_id == again["item"].raw_id != other["item"].raw_id
    assert torch.equal(torch.random.get_rng_state(), state)
    assert data["item"].raw_id == before["item"].raw_id
    assert pairs(data, "train") == pairs(before, "train")


def test_item_graphs_are_made_again_and_not_renumbered(data: HeteroData) -> None:
    made = ItemKNNGraph(k=3)(data.clone())
    _, whole = hold_out_items(made)
    assert not [kind for kind in whole.edge_types if kind[0] == kind[2]]
    data["item", "bought_with", "item"].edge_index = torch.tensor([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="item graph of your own"):
        hold_out_items(data)


@pytest.mark.parametrize("share", [0.0, 1.0, 0.01, -1.0])
def test_a_share_that_cannot_be_is_refused(data: HeteroData, share: float) -> None:
    with pytest.raises(ValueError, match="'share' needs"):
        hold_out_items(data, share)


def test_items_are_ranked_among_each_other(data: HeteroData) -> None:
    whole = hold_out_items(data, 0.4)[1]
    is_cold = cold_items(whole)
    scorer = BPRMF.from_data(whole).encode(whole)
    among = AmongItems(scorer, is_cold)
    before, after = (one.scores(torch.arange(60)) for one in (scorer, among))
    assert torch.equal(before[:, is_cold], after[:, is_cold])
    assert is_cold[after.topk(int(is_cold.sum())).indices].all()
    recall = recall_by_item_group(among, whole, is_cold, "test", int(is_cold.sum()))
    assert next(iter(recall.values())).tolist() == [0.0, 1.0]
    with pytest.raises(ValueError, match=r"'is_candidate' needs to be bool of shape \[80\]"):
        AmongItems(scorer, is_cold.long())


@pytest.mark.parametrize("kind", [tuple, np.array])
def test_original_ids_move_whatever_holds_them(data: HeteroData, kind: Any) -> None:
    expected = [found["item"].raw_id for found in hold_out_items(data, seed=3)]
    data["item"].raw_id = kind(data["item"].raw_id)
    found = [list(found["item"].raw_id) for found in hold_out_items(data, seed=3)]
    assert found == expected


def test_as_many_interactions_of_validation_as_of_training(data: HeteroData) -> None:
    """PyG takes these for an attribute of the edges then."""
    edges = data["user", "interacts", "item"]
    kept = edges.val_edge_label_index.size(1)
    edges.edge_index, edges.rating = edges.edge_index[:, :kept], edges.rating[:kept]
    before = {pair for split in SPLITS for pair in pairs(data, split)}
    _, whole = hold_out_items(data, share=0.25, seed=3)
    assert {pair for split in ("train", "val") for pair in pairs(whole, split)} <= before
