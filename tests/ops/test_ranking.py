from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, Representations, Scorer, edge_label_index
from mentor_pyg.graph import ItemLists
from mentor_pyg.ops import rank_items, recommend_items, seen_items, user_ids

USERS, ITEMS = 9, 31


@dataclass
class Table:
    """A scorer that is a matrix, and remembers how many users it was asked for at a time."""

    score: Tensor
    asked: list[int] = field(default_factory=list)

    @property
    def num_users(self) -> int:
        return self.score.size(0)

    @property
    def num_items(self) -> int:
        return self.score.size(1)

    def scores(self, user: Tensor) -> Tensor:
        self.asked.append(user.numel())
        return self.score[user]


@pytest.fixture
def table() -> Table:
    return Table(torch.randn(USERS, ITEMS, dtype=torch.double))


@pytest.fixture
def pairs() -> Tensor:
    """A third of all pairs, and everything for user 2; user 4 has seen nothing."""
    pairs = torch.rand(USERS, ITEMS) < 0.3
    pairs[2], pairs[4] = True, False
    return pairs


def lists(pairs: Tensor) -> ItemLists:
    return ItemLists.from_edge_index(pairs.nonzero().t(), USERS)


@pytest.mark.parametrize("batch_size", [1, 4, 1024])
@pytest.mark.parametrize("k", [1, 5, ITEMS])
def test_equals_a_sort_of_all_scores(table: Table, pairs: Tensor, k: int, batch_size: int) -> None:
    user = torch.tensor([8, 2, 0, 4, 2, 7])
    expected = np.where(pairs.numpy(), -np.inf, table.score.numpy())[user]
    item, score = rank_items(table, user, k, lists(pairs), batch_size=batch_size)
    assert score.shape == item.shape == (6, k)
    for row in range(6):
        unseen = min(k, int(np.isfinite(expected[row]).sum()))
        order = np.argsort(-expected[row])[:unseen]
        assert item[row, :unseen].tolist() == order.tolist()
        np.testing.assert_array_equal(score[row, :unseen], expected[row][order])
        assert (score[row, unseen:] == -torch.inf).all()
        assert item[row].unique().numel() == k


def test_without_seen_items_nothing_is_left_out(table: Table) -> None:
    item, score = rank_items(table, torch.arange(USERS), ITEMS)
    assert score.isfinite().all()
    assert torch.equal(item.sort(dim=1).values, torch.arange(ITEMS).expand(USERS, -1))


@pytest.mark.parametrize("batch_size", [1, 4, 1024])
def test_representations_in_blocks_that_share_memory(pairs: Tensor, batch_size: int) -> None:
    user, item = torch.randn(USERS, 4).double(), torch.randn(ITEMS, 4).double()
    reps = Representations({"fused": user}, {"fused": item})
    wanted = torch.tensor([8, 2, 0, 4, 2, 7])
    found, score = rank_items(reps, wanted, 7, lists(pairs), batch_size=batch_size)
    expected, expected_score = rank_items(Table(user @ item.t()), wanted, 7, lists(pairs))
    torch.testing.assert_close(score, expected_score)
    assert torch.equal(found[score.isfinite()], expected[score.isfinite()])


def test_no_more_users_at_a_time_than_asked_for(table: Table) -> None:
    rank_items(table, torch.arange(USERS), 3, batch_size=4)
    assert table.asked == [4, 4, 1]


def test_scores_that_share_memory_are_left_alone(pairs: Tensor) -> None:
    class Popularity(Table):
        def scores(self, user: Tensor) -> Tensor:
            return self.score[0].expand(user.numel(), -1)

    popularity = Popularity(torch.randn(USERS, ITEMS))
    before = popularity.score.clone()
    item, _ = rank_items(popularity, torch.tensor([2, 4]), ITEMS, lists(pairs))
    assert torch.equal(item[1], before[0].argsort(descending=True))
    assert torch.equal(popularity.score, before)


def test_records_no_gradient() -> None:
    user, item = torch.randn(USERS, 4, requires_grad=True), torch.randn(ITEMS, 4)
    _, score = rank_items(Representations({"fused": user}, {"fused": item}), torch.arange(2), 3)
    assert not score.requires_grad


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_refuses_scores_that_are_not_finite(table: Table, value: float) -> None:
    table.score[5, 30] = value
    with pytest.raises(ValueError, match="'scorer' gives infinite or NaN values"):
        rank_items(table, torch.tensor([0, 5]), 3)


def test_takes_scores_whose_sum_overflows(table: Table) -> None:
    table.score = table.score.float().sign() * 3e38
    table.score[:, :20] = 3e38
    assert rank_items(table, torch.tensor([0]), 3)[1].isfinite().all()


def test_refuses_scores_of_another_shape(table: Table) -> None:
    table.scores = lambda user: table.score  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"2 users scores of the shape \[2, 31\] \(got \[9, 31\]"):
        rank_items(table, torch.tensor([0, 5]), 3)


def test_recommends_what_was_not_seen(table: Table) -> None:
    pairs = (torch.rand(USERS, ITEMS) < 0.5).index_fill_(0, torch.tensor(6), True)
    pairs[6, [3, 30]] = False  # User 6 has two items left.
    user = torch.tensor([8, 6, 0, 6])
    found, score = recommend_items(table, user, 5, lists(pairs))
    expected, expected_score = rank_items(table, user, 5, lists(pairs))
    assert torch.equal(score, expected_score)
    assert torch.equal(found, torch.where(score.isfinite(), expected, -1))
    assert set(found[1].tolist()) == set(found[3].tolist()) == {3, 30, -1}
    assert found[1, 2:].tolist() == [-1] * 3


@pytest.mark.parametrize("k", [0, -1, ITEMS + 1])
def test_refuses_k(table: Table, k: int) -> None:
    with pytest.raises(ValueError, match=rf"'k' needs .* number of items, 31 \(got {k}\)"):
        recommend_items(table, [0], k)


def test_k_is_any_integer_and_nothing_else(table: Table) -> None:
    assert recommend_items(table, [0], np.int64(3))[0].shape == (1, 3)
    for k in (True, 3.0, "3", None):
        with pytest.raises(TypeError, match=r"'k' needs to be an integer \(got .* of the type"):
            recommend_items(table, [0], k)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (4, [4]),
        (np.int64(4), [4]),
        (torch.tensor(4), [4]),
        ([3, 0, 3], [3, 0, 3]),
        ((3, 0), [3, 0]),
        (np.array([3, 0], dtype=np.uint8), [3, 0]),
        (torch.tensor([3, 0], dtype=torch.uint8), [3, 0]),  # No mask of two users.
        ([], []),
        ("7", [0]),
        (["x", "7"], [2, 0]),
        (np.array(["x", "7"]), [2, 0]),
    ],
)
def test_users_by_number_or_original_id(user: Any, expected: list[int], table: Table) -> None:
    raw_id = ["7", "8", "x", *"abcdef"]
    assert user_ids(user, USERS, raw_id).tolist() == expected
    assert user_ids(user, USERS, raw_id).dtype == torch.long
    found, _ = recommend_items(table, user, 3, raw_id=raw_id)
    assert torch.equal(found, rank_items(table, torch.tensor(expected).long(), 3)[0])


@pytest.mark.parametrize("convert", [list, np.array, torch.tensor])
def test_original_ids_that_are_numbers_are_given_as_text(convert: Any) -> None:
    raw_id = convert([100, 300, 200])
    assert user_ids(["200", "100"], 3, raw_id).tolist() == [2, 0]
    assert user_ids([2, 0], 3, raw_id).tolist() == [2, 0]
    with pytest.raises(ValueError, match=r"\(got 100 to 200\); give original ids as text"):
        user_ids([200, 100], 3, raw_id)


@pytest.mark.parametrize("user", [0.5, True, None, [[1]], [0.5], [True], torch.ones(2), ["a", 1]])
def test_refuses_what_names_no_users(user: Any) -> None:
    with pytest.raises(ValueError, match=r"'user' needs to be integer ids of shape \[batch\]"):
        user_ids(user, USERS, ["a", "1"])


def test_refuses_unknown_users() -> None:
    with pytest.raises(
        ValueError, match=r"'zoe', which is no user of the data; .* as \['a', 'b'\]"
    ):
        user_ids(["a", "zoe"], 2, ["a", "b"])
    with pytest.raises(ValueError, match=r"'zoe', which is no user of the data"):
        user_ids(["zoe"], 0, [])
    with pytest.raises(ValueError, match=r"'zoe', but data\['user'\].raw_id, .* is missing"):
        user_ids("zoe", 2)
    for wanted in ([-1, 2], [0, USERS]):
        got = rf"got {min(wanted)} to {max(wanted)}"
        with pytest.raises(ValueError, match=rf"'user' needs ids from 0 to 8 \({got}\)$"):
            user_ids(wanted, USERS)


def test_seen_items_of_splits(tiny_data: HeteroData) -> None:
    def edges(*splits: Any) -> set[tuple[int, int]]:
        index = torch.cat([edge_label_index(tiny_data, split) for split in splits], dim=1)
        return set(zip(*index.tolist(), strict=True))

    def found(*arguments: Any) -> set[tuple[int, int]]:
        user, item = seen_items(tiny_data, *arguments).of(torch.arange(60))
        return set(zip(user.tolist(), item.tolist(), strict=True))

    assert found() == edges("train", "val", "test")
    assert found(("train",)) == edges("train")
    assert found(["test", "val"]) == edges("val", "test")
    assert found(()) == set()
    del tiny_data[INTERACTS].val_edge_label_index
    assert found() == edges("train", "test")
    with pytest.raises(ValueError, match="no 'val_edge_label_index'"):
        seen_items(tiny_data, ("train", "val", "test"))


@pytest.mark.parametrize("exclude", ["train", ("train", "dev")])
def test_refuses_splits(tiny_data: HeteroData, exclude: Any) -> None:
    with pytest.raises(ValueError, match="'exclude' needs a sequence of splits among"):
        seen_items(tiny_data, exclude)


def test_a_matrix_is_a_scorer(table: Table) -> None:
    assert isinstance(table, Scorer)
    assert not isinstance(table.score, Scorer)


@pytest.mark.parametrize("levels", [1, 3, 40])
def test_of_equal_scores_lower_ids_come_first_whatever_k_is(levels: int) -> None:
    torch.manual_seed(0)
    table = torch.randint(levels, (30, 700)).float()
    seen = ItemLists.from_edge_index(torch.stack([torch.arange(30), torch.arange(30) * 3]), 30)
    score = table.clone()
    score[torch.arange(30), torch.arange(30) * 3] = -torch.inf
    expected = score.sort(dim=1, descending=True, stable=True)
    for k in (1, 10, 20, 100, 699, 700):
        item, best = rank_items(Table(table), torch.arange(30), k, seen, batch_size=7)
        assert torch.equal(item, expected.indices[:, :k])
        assert torch.equal(best, expected.values[:, :k])
