import math
from collections import defaultdict
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, Representations, edge_label_index
from mentor_pyg.evaluation import (
    LIST_METRICS,
    METRICS,
    blocks,
    full_ranking,
    per_user_metrics,
    ranking_metrics,
)
from mentor_pyg.evaluation.ranking import measured
from mentor_pyg.typing import Split
from tests.evaluation.conftest import (
    all_scores,
    by_user,
    interactions,
    naive_lists,
    representations,
)


def average_precision(hits: list[bool], relevant: int) -> float:
    precisions = [fmean(hits[: i + 1]) for i in range(len(hits)) if hits[i]]
    return sum(precisions) / min(relevant, len(hits))


def normalised_gain(hits: list[bool], relevant: int) -> float:
    gain = [1 / math.log2(i + 2) for i in range(len(hits))]
    best = sum(gain[:relevant])
    return sum(g for g, hit in zip(gain, hits, strict=True) if hit) / best


def naive_values(
    scores: Tensor, data: HeteroData, split: Split, k: int, keep_cold_users: bool = False
) -> dict[str, list[float]]:
    """Measure one user's list after the other."""
    labels = by_user(edge_label_index(data, split))
    values = defaultdict(list)
    for user, ranked in naive_lists(scores, data, split, k, keep_cold_users).items():
        relevant = labels[user]
        hits = [item in relevant for item in ranked] + [False] * (k - len(ranked))
        values["user"].append(user)
        values[f"recall@{k}"].append(sum(hits) / len(relevant))
        values[f"precision@{k}"].append(sum(hits) / k)
        values[f"ndcg@{k}"].append(normalised_gain(hits, len(relevant)))
        values[f"map@{k}"].append(average_precision(hits, len(relevant)))
    return values


def naive_ranking(
    scores: Tensor, data: HeteroData, split: Split, k: int, keep_cold_users: bool = False
) -> dict[str, float]:
    """Return the means over users."""
    values = naive_values(scores, data, split, k, keep_cold_users)
    return {key: fmean(value) for key, value in values.items() if key != "user"}


@pytest.mark.parametrize(
    ("split", "k", "keep_cold_users"),
    [("val", 20, False), ("test", 1, False), ("test", 7, True), ("test", 80, False)],
)
def test_equals_naive_ranking(
    data: HeteroData, split: Split, k: int, keep_cold_users: bool
) -> None:
    reps = representations(data)
    expected = naive_ranking(all_scores(reps), data, split, k, keep_cold_users)
    actual = full_ranking(reps, data, split, k, keep_cold_users=keep_cold_users)
    assert actual == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize("at_once", [7, 2**16])
@pytest.mark.parametrize("batch_size", [1, 58])
def test_blocks_do_not_matter(
    data: HeteroData, batch_size: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reps = representations(data)
    expected = full_ranking(reps, data)
    monkeypatch.setattr(blocks, "_USERS_AT_ONCE", at_once)
    actual = full_ranking(reps, data, batch_size=batch_size)
    assert actual == pytest.approx(expected, rel=0, abs=1e-12)


class Distances:
    """A scorer that is no dot product: minus the distance to a point per user and item."""

    def __init__(self, user: Tensor, item: Tensor) -> None:
        self.user, self.item = user, item
        self.num_users, self.num_items = user.size(0), item.size(0)

    def scores(self, user: Tensor) -> Tensor:
        assert torch.get_default_dtype() == torch.float32  # Not that of the metrics.
        return -torch.cdist(self.user[user], self.item)


@pytest.mark.parametrize("split", ["val", "test"])
def test_any_scorer_is_ranked(data: HeteroData, split: Split) -> None:
    scorer = Distances(torch.randn(60, 3), torch.randn(80, 3))
    expected = naive_ranking(scorer.scores(torch.arange(60)), data, split, 7)
    assert full_ranking(scorer, data, split, 7) == pytest.approx(expected, rel=0, abs=1e-12)


def test_order_of_edges_does_not_matter(data: HeteroData) -> None:
    reps = representations(data)
    shuffled = data.clone()
    for key in ("edge_index", "test_edge_label_index"):
        edges = data[INTERACTS][key]
        shuffled[INTERACTS][key] = edges[:, torch.randperm(edges.size(1))]
    expected = full_ranking(reps, data)
    assert full_ranking(reps, shuffled) == pytest.approx(expected, rel=0, abs=1e-12)


def test_one_or_several_k(data: HeteroData) -> None:
    reps = representations(data)
    several = full_ranking(reps, data, k=(20, 5))
    assert list(several) == [f"{metric}@{k}" for metric in METRICS for k in (20, 5)]
    assert full_ranking(reps, data, k=5) == full_ranking(reps, data, k=[5])
    assert full_ranking(reps, data, k=np.int64(5)) == full_ranking(reps, data, k=np.array([5]))
    assert full_ranking(reps, data, k=5) == {
        key: several[key] for key in several if key.endswith("@5")
    }


def test_some_metrics(data: HeteroData) -> None:
    reps = representations(data)
    some = full_ranking(reps, data, k=20, metrics=("ndcg", "recall"))
    every = full_ranking(reps, data, k=20)
    assert some == {key: every[key] for key in ("ndcg@20", "recall@20")}
    assert all(isinstance(value, float) for value in some.values())


def test_seen_items_are_left_out() -> None:
    edges = {"train": [(0, 0), (0, 1)], "test": [(0, 2)]}
    data = interactions(1, 4, edges)
    # The train items score best, and the label comes next.
    reps = Representations(
        {"fused": torch.ones(1, 1)}, {"fused": torch.tensor([[9.0], [8.0], [7.0], [1.0]])}
    )
    assert full_ranking(reps, data, k=1)["recall@1"] == 1


def test_validation_items_are_not_left_out() -> None:
    data = interactions(1, 4, {"train": [(0, 0)], "val": [(0, 1)], "test": [(0, 2)]})
    reps = Representations(
        {"fused": torch.ones(1, 1)}, {"fused": torch.tensor([[9.0], [8.0], [7.0], [1.0]])}
    )
    metrics = full_ranking(reps, data, k=(1, 2))
    assert (metrics["recall@1"], metrics["recall@2"]) == (0, 1)


def test_user_with_fewer_unseen_items_than_k() -> None:
    train = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]
    data = interactions(2, 6, {"train": train, "test": [(0, 4), (1, 5)]})
    reps = representations(data)
    for k in (3, 6):
        expected = naive_ranking(all_scores(reps), data, "test", k)
        assert full_ranking(reps, data, k=k) == pytest.approx(expected, rel=0, abs=1e-12)


def test_leaves_representations_and_default_dtype_alone(data: HeteroData) -> None:
    reps = representations(data)
    before = reps.user["fused"].clone(), reps.item["fused"].clone()
    full_ranking(reps, data)
    assert torch.get_default_dtype() == torch.float32
    with pytest.raises(ValueError, match="'metrics'"):
        full_ranking(reps, data, metrics=["auc"])
    assert torch.get_default_dtype() == torch.float32
    assert torch.equal(reps.user["fused"], before[0])
    assert torch.equal(reps.item["fused"], before[1])


def test_representations_with_gradient_history(data: HeteroData) -> None:
    reps = representations(data)
    tracked = Representations(
        {"fused": reps.user["fused"].clone().requires_grad_() * 1},
        {"fused": reps.item["fused"].clone().requires_grad_() * 1},
    )
    assert full_ranking(tracked, data) == full_ranking(reps, data)


@pytest.mark.parametrize("k", [0, -1, 81, (), (10, 0), (10, 81)])
def test_refuses_k(data: HeteroData, k: int | tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"'k' needs positive integers up to .* 80"):
        full_ranking(representations(data), data, k=k)


@pytest.mark.parametrize("k", [True, 5.0, (5, 10.0), "5"])
def test_refuses_k_that_is_no_integer(data: HeteroData, k: Any) -> None:
    with pytest.raises(TypeError, match="'k' needs to be an integer"):
        full_ranking(representations(data), data, k=k)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_refuses_batch_size(data: HeteroData, batch_size: int) -> None:
    with pytest.raises(ValueError, match="'batch_size' needs to be at least 1"):
        full_ranking(representations(data), data, batch_size=batch_size)


@pytest.mark.parametrize("split", ["train", "dev"])
def test_refuses_split(data: HeteroData, split: Split) -> None:
    with pytest.raises(ValueError, match=f"'split' needs to be 'val' or 'test' .got '{split}'"):
        full_ranking(representations(data), data, split)


def test_refuses_missing_split() -> None:
    data = interactions(1, 30, {"train": [(0, 0)]})
    with pytest.raises(ValueError, match="no 'test_edge_label_index'"):
        full_ranking(representations(data), data)


def test_refuses_metrics(data: HeteroData) -> None:
    with pytest.raises(ValueError, match=r"'metrics' needs names among .* \(got \['auc'\]\)"):
        full_ranking(representations(data), data, metrics=("recall", "auc"))


def test_refuses_other_representations(data: HeteroData) -> None:
    other = representations(interactions(60, 79, {}))
    with pytest.raises(ValueError, match="'scorer' is of 60 users and 79 items, but 'data' has 60"):
        full_ranking(other, data)


@pytest.mark.parametrize("test", [[], [(1, 2)]])
def test_refuses_no_users(test: list[tuple[int, int]]) -> None:
    data = interactions(2, 30, {"train": [(0, 0)], "test": test})
    with pytest.raises(ValueError, match="no user of the test split is left to rank"):
        full_ranking(representations(data), data)


def test_made_rankings() -> None:
    ranked = torch.tensor([[4, 1, 0], [2, 3, 4], [0, 1, 2]])
    labels = torch.tensor([[0, 0, 2], [1, 3, 4]])  # The middle row has none.
    metrics = ranking_metrics(ranked, labels, (1, 3))
    assert metrics == pytest.approx(
        {
            "recall@1": 0,
            "recall@3": (1 / 2 + 0) / 2,
            "precision@1": 0,
            "precision@3": (1 / 3 + 0) / 2,
            "ndcg@1": 0,
            "ndcg@3": (1 / math.log2(3)) / (1 + 1 / math.log2(3)) / 2,
            "map@1": 0,
            "map@3": (1 / 2) / 2 / 2,
        },
        rel=0,
        abs=1e-12,
    )


def test_made_rankings_that_are_too_short() -> None:
    with pytest.raises(ValueError, match="'ranked' holds 3 items per user, but 'k' asks 5"):
        ranking_metrics(torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 1).long(), (2, 5))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_refuses_scores_that_cannot_be_ranked(value: float, tiny_data: HeteroData) -> None:
    user, item = torch.rand(60, 4), torch.rand(80, 4)
    user[3, 1] = value
    with pytest.raises(ValueError, match="infinite or NaN values"):
        full_ranking(Representations({"fused": user}, {"fused": item}), tiny_data)


def test_refuses_what_is_no_scorer(tiny_data: HeteroData) -> None:
    with pytest.raises(TypeError, match=r"'scorer' needs to have num_users, .* \(got Tensor\)"):
        full_ranking(torch.rand(60, 80), tiny_data)


@pytest.mark.parametrize("metrics", ["recall", ()])
def test_refuses_metrics_that_are_no_names(metrics: str, tiny_data: HeteroData) -> None:
    reps = Representations({"fused": torch.rand(60, 4)}, {"fused": torch.rand(80, 4)})
    with pytest.raises(ValueError, match="'metrics' needs a sequence of names"):
        full_ranking(reps, tiny_data, k=5, metrics=metrics)


def test_the_default_set_is_of_users(data: HeteroData) -> None:
    assert list(METRICS) == ["recall", "ndcg", "precision", "map"]
    found = full_ranking(representations(data), data, k=5)
    assert list(found) == ["recall@5", "ndcg@5", "precision@5", "map@5"]


def test_all_metrics_in_the_order_asked_for(data: HeteroData) -> None:
    reps = representations(data)
    names = ("gini", "recall", "coverage", "map")
    found = full_ranking(reps, data, k=(20, 5), metrics=names)
    assert list(found) == [f"{name}@{k}" for name in names for k in (20, 5)]
    assert found["map@5"] == full_ranking(reps, data, k=5)["map@5"]
    assert found["gini@5"] == full_ranking(reps, data, k=5, metrics=["gini"])["gini@5"]


@pytest.mark.parametrize(
    ("split", "k", "keep_cold_users"),
    [("val", 20, False), ("test", 1, False), ("test", 7, True), ("test", 80, False)],
)
def test_values_per_user_equal_naive_ones(
    data: HeteroData, split: Split, k: int, keep_cold_users: bool
) -> None:
    reps = representations(data)
    expected = naive_values(all_scores(reps), data, split, k, keep_cold_users)
    found = per_user_metrics(reps, data, split, k, keep_cold_users=keep_cold_users)
    assert found["user"].tolist() == expected["user"] == sorted(expected["user"])
    assert (3 in expected["user"]) is keep_cold_users  # who is cold
    assert list(found) == ["user", *(f"{metric}@{k}" for metric in METRICS)]
    for key, value in found.items():
        assert value.dtype == (torch.int64 if key == "user" else torch.float64)
        assert value.tolist() == pytest.approx(expected[key], rel=0, abs=1e-12)
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("split", ["val", "test"])
def test_means_of_values_per_user_are_the_full_ranking(data: HeteroData, split: Split) -> None:
    reps = representations(data)
    values = per_user_metrics(reps, data, split)
    expected = full_ranking(reps, data, split)
    del values["user"]
    means = {key: float(value.mean()) for key, value in values.items()}
    assert means == pytest.approx(expected, rel=1e-15, abs=0)


@pytest.mark.parametrize("at_once", [7, 2**16])
def test_values_per_user_do_not_depend_on_blocks(
    data: HeteroData, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reps = representations(data)
    expected = per_user_metrics(reps, data, k=(5, 20))
    monkeypatch.setattr(blocks, "_USERS_AT_ONCE", at_once)
    found = per_user_metrics(reps, data, k=(5, 20), batch_size=3)
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], expected[key]) for key in found)


class Counting(Distances):
    """Counts how often each user is scored."""

    def __init__(self, num_users: int, num_items: int) -> None:
        super().__init__(torch.rand(num_users, 3), torch.rand(num_items, 3))
        self.users: list[int] = []

    def scores(self, user: Tensor) -> Tensor:
        self.users += user.tolist()
        return super().scores(user)


def test_all_is_measured_in_one_pass(data: HeteroData) -> None:
    scorer = Counting(60, 80)
    names = (*METRICS, *LIST_METRICS)
    found, values = measured(scorer, data, "test", (5, 10), names, per_user=True)
    assert scorer.users == values["user"].tolist()
    assert found == full_ranking(scorer, data, k=(5, 10), metrics=names)
    assert list(values) == ["user", *(f"{metric}@{k}" for metric in METRICS for k in (5, 10))]
    assert values["map@10"].equal(per_user_metrics(scorer, data)["map@10"])


def test_metrics_without_values_per_user(data: HeteroData) -> None:
    reps = representations(data)
    with pytest.raises(ValueError, match=r"'metrics' needs names among .* \(got \['gini'\]\)"):
        per_user_metrics(reps, data, metrics=["recall", "gini"])
    message = r"'metrics' needs one that each user has a value of, among .*\['gini'\], of all lists"
    with pytest.raises(ValueError, match=message):
        measured(reps, data, "test", 5, ["gini"], per_user=True)
    assert measured(reps, data, "test", 5, ["recall", "gini"])[1] == {}


def test_made_rankings_have_no_metrics_of_all_lists() -> None:
    ranked = torch.tensor([[4, 1, 0]])
    with pytest.raises(ValueError, match=r"'metrics' needs names among .* \(got \['gini'\]\)"):
        ranking_metrics(ranked, torch.tensor([[0], [1]]), (1,), ["gini"])
