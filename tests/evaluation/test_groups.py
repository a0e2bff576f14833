import math
from collections import Counter
from statistics import fmean
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, edge_label_index
from mentor_pyg.evaluation import (
    blocks,
    cold_items,
    full_ranking,
    interactions_by_popularity,
    items_by_popularity,
    recall_by_item_group,
    users_by_activity,
)
from mentor_pyg.typing import Split
from tests.evaluation.conftest import (
    all_scores,
    by_user,
    interactions,
    naive_lists,
    representations,
)

AT_LEAST = (1, 3, 6)
FRACTION: Any = (1.5,)


def naive_bins(node: Tensor, count: int, at_least: tuple[int, ...]) -> list[int]:
    often = Counter(node.tolist())
    return [sum(often[n] >= least for least in at_least) for n in range(count)]


@pytest.mark.parametrize("at_least", [AT_LEAST, (1,), (2, 3), (100,)])
def test_bins_equal_naive_ones(data: HeteroData, at_least: tuple[int, ...]) -> None:
    user, item = data[INTERACTS].edge_index
    assert users_by_activity(data, at_least).tolist() == naive_bins(user, 60, at_least)
    bins = items_by_popularity(data, at_least)
    assert bins.tolist() == naive_bins(item, 80, at_least)
    for split in ("train", "val", "test"):
        found = interactions_by_popularity(data, split, at_least).tolist()
        assert found == [int(bins[i]) for i in edge_label_index(data, split)[1].tolist()]


def test_the_edges_of_bins() -> None:
    train = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]
    data = interactions(4, 5, {"train": train, "test": [(0, 4), (2, 2), (1, 3)], "val": []})
    assert users_by_activity(data, (2, 3)).tolist() == [2, 1, 0, 0]
    assert items_by_popularity(data, (1, 3)).tolist() == [2, 1, 1, 0, 0]
    assert cold_items(data).tolist() == [False, False, False, True, True]
    assert interactions_by_popularity(data, "test", (1, 3)).tolist() == [0, 1, 0]
    assert interactions_by_popularity(data, "val", (1, 3)).tolist() == []


@pytest.mark.parametrize("at_least", [(), (0, 1), (3, 2), (2, 2)])
def test_refuses_bins(data: HeteroData, at_least: tuple[int, ...]) -> None:
    for function in (users_by_activity, items_by_popularity):
        with pytest.raises(ValueError, match=r"'at_least' needs ascending numbers .* from 1 on"):
            function(data, at_least)
    with pytest.raises(TypeError, match="'at_least' needs to be an integer"):
        users_by_activity(data, FRACTION)


def naive_recall(
    scores: Tensor, data: HeteroData, group: list[int], split: Split, k: int
) -> dict[str, list[float]]:
    """Go through groups, and in each through users."""
    labels = by_user(edge_label_index(data, split))
    lists = naive_lists(scores, data, split, k)
    recall, users, number = [], [], []
    for one in range(max(group) + 1):
        wanted = {u: {i for i in labels[u] if group[i] == one} for u in lists}
        values = [len(wanted[u] & {*lists[u]}) / len(wanted[u]) for u in lists if wanted[u]]
        recall.append(fmean(values) if values else math.nan)
        users.append(len(values))
        number.append(sum(map(len, wanted.values())))
    return {f"recall@{k}": recall, "users": users, "interactions": number}


@pytest.mark.parametrize(("split", "k"), [("val", 20), ("test", 7), ("test", 80)])
def test_recall_by_group_equals_a_naive_one(
    data: HeteroData, split: Split, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_USERS_AT_ONCE", 9)
    reps, group = representations(data), items_by_popularity(data, AT_LEAST)
    group[group == 1] = 5  # Groups 1 and 4 are empty.
    expected = naive_recall(all_scores(reps), data, group.tolist(), split, k)
    found = recall_by_item_group(reps, data, group, split, k)
    assert {key: value.tolist() for key, value in found.items()} == {
        key: pytest.approx(value, rel=0, abs=1e-12, nan_ok=True) for key, value in expected.items()
    }
    assert found[f"recall@{k}"].dtype == torch.float64
    assert found[f"recall@{k}"][[1, 4]].isnan().all()


def test_recall_of_one_group_is_the_recall(data: HeteroData) -> None:
    reps = representations(data)
    for keep in (False, True):
        whole = full_ranking(reps, data, metrics=["recall"], keep_cold_users=keep)
        found = recall_by_item_group(
            reps, data, torch.zeros(80, dtype=torch.long), keep_cold_users=keep
        )
        assert {key: float(found[key]) for key in whole} == whole
    assert int(found["interactions"]) == edge_label_index(data, "test").size(1)
    listed: Any = [0] * 80
    assert recall_by_item_group(reps, data, listed, keep_cold_users=True).keys() == found.keys()


def test_warm_and_cold_items(data: HeteroData) -> None:
    store = data[INTERACTS]
    ready = data.clone()
    ready[INTERACTS].edge_index = store.edge_index[:, store.edge_index[1] < 60]
    reps, cold = representations(data), cold_items(ready)
    assert cold[60:].all()
    found = recall_by_item_group(reps, ready, cold, k=20)
    expected = naive_recall(all_scores(reps), ready, cold.long().tolist(), "test", 20)
    assert found["recall@20"].tolist() == pytest.approx(expected["recall@20"], rel=0, abs=1e-12)
    assert (found["interactions"] > 0).all()


@pytest.mark.parametrize("group", [torch.zeros(79).long(), torch.zeros(80), -torch.ones(80).long()])
def test_refuses_groups(data: HeteroData, group: Any) -> None:
    with pytest.raises(ValueError, match="'group' needs the group of each of the 80 items"):
        recall_by_item_group(representations(data), data, group)
