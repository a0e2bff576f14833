import math
from collections import Counter
from collections.abc import Callable
from statistics import fmean

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.metrics import LinkPredCoverage

from mentor_pyg.data import INTERACTS, Representations
from mentor_pyg.evaluation import (
    LIST_METRICS,
    average_popularity,
    blocks,
    coverage,
    full_ranking,
    gini,
    novelty,
)
from mentor_pyg.evaluation.lists import ListCounts
from mentor_pyg.typing import Split
from tests.evaluation.conftest import all_scores, interactions, naive_lists, representations

NAMES = tuple(LIST_METRICS)


def naive_metrics(lists: list[list[int]], data: HeteroData, k: int) -> dict[str, float]:
    """Measure lists recommendation by recommendation, and Gini pair of items by pair of items."""
    train = Counter(data[INTERACTS].edge_index[1].tolist())
    num_items = int(data["item"].num_nodes)
    made = [item for one in lists for item in one]
    often = [made.count(item) for item in range(num_items)]
    pairs = sum(abs(a - b) for a in often for b in often)
    return {
        f"coverage@{k}": len(set(made)) / num_items,
        # Half the relative mean difference of two different items.
        f"gini@{k}": pairs / (num_items * (num_items - 1)) / 2 / fmean(often),
        f"novelty@{k}": fmean(-math.log2(max(train[i], 1) / train.total()) for i in made),
        f"average_popularity@{k}": fmean(train[i] for i in made),
    }


def check(
    reps: Representations,
    data: HeteroData,
    k: int,
    split: Split = "test",
    keep_cold_users: bool = False,
) -> dict[str, float]:
    lists = [*naive_lists(all_scores(reps), data, split, k, keep_cold_users).values()]
    found = full_ranking(
        reps, data, split, k, metrics=NAMES, keep_cold_users=keep_cold_users, batch_size=7
    )
    assert found == pytest.approx(naive_metrics(lists, data, k), rel=0, abs=1e-12)
    return found


@pytest.mark.parametrize(
    ("split", "k", "keep_cold_users"),
    [("val", 20, False), ("test", 1, False), ("test", 7, True), ("test", 80, False)],
)
def test_equal_naive_ones(data: HeteroData, split: Split, k: int, keep_cold_users: bool) -> None:
    check(representations(data), data, k, split, keep_cold_users)


def test_lengths_are_measured_apart(data: HeteroData) -> None:
    reps = representations(data)
    several = full_ranking(reps, data, k=(20, 5, 80), metrics=NAMES)
    assert list(several) == [f"{name}@{k}" for name in NAMES for k in (20, 5, 80)]
    for k in (20, 5, 80):
        alone = full_ranking(reps, data, k=k, metrics=NAMES)
        assert alone == {key: several[key] for key in alone}


@pytest.mark.parametrize("at_once", [7, 2**16])
@pytest.mark.parametrize("batch_size", [1, 58])
def test_blocks_do_not_matter(
    data: HeteroData, batch_size: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reps = representations(data)
    expected = full_ranking(reps, data, metrics=NAMES)
    monkeypatch.setattr(blocks, "_USERS_AT_ONCE", at_once)
    assert full_ranking(reps, data, metrics=NAMES, batch_size=batch_size) == expected


def test_coverage_is_that_of_pyg(data: HeteroData) -> None:
    reps = representations(data)
    lists = [*naive_lists(all_scores(reps), data, "test", 5).values()]
    metric = LinkPredCoverage(k=5, num_dst_nodes=80)
    metric.update(torch.tensor(lists), torch.zeros(2, 0, dtype=torch.long))
    found = full_ranking(reps, data, k=5, metrics=["coverage"])
    assert found["coverage@5"] == pytest.approx(float(metric.compute()))


def items_scored(*scores: float, users: int = 1) -> Representations:
    return Representations(
        {"fused": torch.ones(users, 1)},
        {"fused": torch.tensor(scores, dtype=torch.float32).view(-1, 1)},
    )


def test_one_user_and_an_item_that_nobody_has() -> None:
    data = interactions(1, 4, {"train": [(0, 0), (0, 1)], "test": [(0, 2)]})
    found = check(items_scored(9, 8, 1, 2), data, k=1)  # Item 3 has no interaction at all.
    assert found == {
        "coverage@1": 1 / 4,
        "gini@1": 1,
        "novelty@1": 1,  # That of an item with one of the two train interactions.
        "average_popularity@1": 0,
    }


def test_as_many_places_as_items() -> None:
    train = [(0, 0), (0, 1), (0, 2), (1, 0)]
    data = interactions(2, 4, {"train": train, "test": [(0, 3), (1, 3)]})
    found = check(items_scored(4, 3, 2, 1, users=2), data, k=4)
    # Lists are [3] and [1, 2, 3]: what a user has seen does not fill them.
    assert found["coverage@4"] == 3 / 4
    assert found["average_popularity@4"] == 2 / 4
    assert found["gini@4"] == pytest.approx((-3 * 0 - 1 + 1 + 3 * 2) / 3 / 4)


def test_a_split_without_the_popular_item() -> None:
    """Users who are not ranked count in popularity, and not in lists."""
    train = [(0, 0), (1, 1), (2, 1), (3, 1)]
    data = interactions(4, 3, {"train": train, "test": [(0, 2)]})
    found = check(items_scored(3, 2, 1, users=4), data, k=1)
    assert found["average_popularity@1"] == 3
    assert found["novelty@1"] == pytest.approx(math.log2(4 / 3))


def test_ties() -> None:
    """Items of equal scores on one side of the cut, and of equal counts."""
    data = interactions(3, 6, {"train": [(0, 5), (1, 5), (2, 4)], "test": [(0, 1), (1, 2), (2, 3)]})
    check(items_scored(7, 7, 3, 3, 1, 1, users=3), data, k=2)
    check(items_scored(7, 7, 7, 7, 1, 1, users=3), data, k=4)


def test_without_train_interactions() -> None:
    data = interactions(1, 2, {"train": [], "test": [(0, 0)]})
    found = full_ranking(items_scored(1, 2), data, k=1, metrics=NAMES, keep_cold_users=True)
    assert (found["novelty@1"], found["average_popularity@1"]) == (0, 0)


@pytest.mark.parametrize("size", [2, 3, 10, 1000])
def test_gini_has_closed_forms(size: int) -> None:
    shuffled = torch.randperm(size, generator=torch.Generator().manual_seed(0))
    assert float(gini(torch.full((size,), 7))) == 0
    assert float(gini((shuffled == 0).long() * 5)) == 1
    # Of counts that rise by the same step from there, it is a third; of 0, 1, 2, ... a little more.
    assert float(gini(shuffled + 1)) == pytest.approx(1 / 3, rel=1e-15)
    assert float(gini(shuffled)) == pytest.approx((size + 1) / (3 * (size - 1)), rel=1e-15)
    half = (shuffled % 2) * 3
    share = int((half > 0).sum()) / size
    assert float(gini(half)) == pytest.approx((1 - share) * size / (size - 1), rel=1e-15)


def test_gini_of_many_counts_is_exact() -> None:
    count = torch.tensor([10**6, 0]).repeat(500_000)
    assert float(gini(count)) == pytest.approx(0.5 * 1e6 / (1e6 - 1), rel=1e-14)


def test_novelty_is_in_bits() -> None:
    train = torch.tensor([4, 2, 1, 1, 0])
    for item, bits in enumerate([1, 2, 3, 3, 3]):
        only = torch.zeros(5, dtype=torch.long)
        only[item] = 6
        assert float(novelty(only, train)) == bits
    assert float(novelty(torch.tensor([1, 3, 0, 0, 0]), train)) == (1 + 3 * 2) / 4
    assert float(average_popularity(torch.tensor([1, 3, 0, 0, 4]), train)) == (4 + 3 * 2) / 8


def test_where_nothing_is_recommended() -> None:
    none, train = torch.zeros(3, dtype=torch.long), torch.tensor([1, 2, 3])
    for metric in LIST_METRICS.values():
        assert float(metric(none, train)) == 0
    assert float(gini(torch.tensor([5]))) == 0
    assert float(coverage(torch.tensor([5]))) == 1


@pytest.mark.parametrize("metric", LIST_METRICS.values(), ids=NAMES)
def test_metrics_leave_counts_alone(metric: Callable[[Tensor, Tensor], Tensor]) -> None:
    counts = torch.tensor([3, 1, 0]), torch.tensor([0, 2, 5])
    before: list[Tensor] = [count.clone() for count in counts]
    value = metric(*counts)
    assert value.dtype == torch.float64 and value.shape == ()
    assert all(map(torch.equal, counts, before))


def test_counts_hold_no_lists() -> None:
    counts = ListCounts((2, 3), ["coverage"], torch.zeros(9, dtype=torch.long))
    ranked = torch.tensor([[1, 2, 3], [1, 4, 5]])
    for _ in range(3):
        counts.update(ranked, torch.ones(2, 3))
    assert {n: count.tolist() for n, count in counts._recommended.items()} == {
        2: [0, 6, 3, 0, 3, 0, 0, 0, 0],
        3: [0, 6, 3, 3, 3, 3, 0, 0, 0],
    }
    assert set(vars(counts)) == {"_interactions", "_metrics", "_recommended"}


def test_nothing_is_counted_unless_asked_for() -> None:
    counts = ListCounts((2, 3), [], torch.zeros(9, dtype=torch.long))
    counts.update(torch.tensor([[1, 2, 3]]), torch.ones(1, 3))
    assert counts._recommended == {} == counts.compute()
