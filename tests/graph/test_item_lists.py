import pytest
import torch
from torch import Tensor

from mentor_pyg.graph import ItemLists

USERS = 5
PAIRS = [(3, 7), (0, 2), (3, 1), (1, 4), (0, 9), (3, 0)]


@pytest.fixture
def lists() -> ItemLists:
    return ItemLists.from_edge_index(torch.tensor(PAIRS).t(), USERS)


@pytest.mark.parametrize("user", [[3], [0, 1, 2, 3, 4], [4, 3, 0, 3], [2, 4], []])
def test_of_equals_a_naive_loop(lists: ItemLists, user: list[int]) -> None:
    expected = [(row, item) for row, u in enumerate(user) for owner, item in PAIRS if owner == u]
    row, item = lists.of(torch.tensor(user, dtype=torch.long))
    assert list(zip(row.tolist(), item.tolist(), strict=True)) == expected


def test_count(lists: ItemLists) -> None:
    assert lists.count.tolist() == [2, 1, 0, 3, 0]


def test_no_interactions() -> None:
    lists = ItemLists.from_edge_index(torch.empty(2, 0, dtype=torch.long), USERS)
    found: tuple[Tensor, Tensor] = lists.of(torch.tensor([0, 4]))
    assert [part.numel() for part in found] == [0, 0]
