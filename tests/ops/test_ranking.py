import numpy as np
import pytest
import torch
from torch import Tensor

from mentor_pyg.graph import ItemLists
from mentor_pyg.ops import masked_topk, recommend_items

BATCH, ITEMS, WIDTH = 9, 31, 4


@pytest.fixture
def user() -> Tensor:
    return torch.randn(BATCH, WIDTH)


@pytest.fixture
def item() -> Tensor:
    return torch.randn(ITEMS, WIDTH)


@pytest.fixture
def seen() -> tuple[Tensor, Tensor]:
    """A third of all pairs, and everything for user 2; user 4 has seen nothing."""
    pairs = torch.rand(BATCH, ITEMS) < 0.3
    pairs[2], pairs[4] = True, False
    return pairs.nonzero(as_tuple=True)


def naive(user: Tensor, item: Tensor, seen: tuple[Tensor, Tensor]) -> np.ndarray:
    score = user.double().numpy() @ item.double().numpy().T
    for row, column in zip(*seen, strict=True):
        score[int(row), int(column)] = -np.inf
    return score


@pytest.mark.parametrize("k", [1, 5, ITEMS])
def test_equals_a_sort_of_all_scores(
    user: Tensor, item: Tensor, seen: tuple[Tensor, Tensor], k: int
) -> None:
    expected = naive(user, item, seen)
    score, found = masked_topk(user, item, k, seen)
    assert score.shape == found.shape == (BATCH, k)
    for row in range(BATCH):
        unseen = int(np.isfinite(expected[row]).sum())
        order = np.argsort(-expected[row])[: min(k, unseen)]
        assert found[row, :unseen].tolist() == order.tolist()
        np.testing.assert_allclose(score[row, :unseen], expected[row][order], rtol=1e-4)
        assert (score[row, unseen:] == -torch.inf).all()
        assert found[row].unique().numel() == k


def test_without_seen_items_nothing_is_left_out(user: Tensor, item: Tensor) -> None:
    score, found = masked_topk(user, item, ITEMS)
    assert score.isfinite().all()
    assert torch.equal(found.sort(dim=1).values, torch.arange(ITEMS).expand(BATCH, -1))
    none = torch.empty(0, dtype=torch.long)
    assert torch.equal(masked_topk(user, item, 5, (none, none))[1], found[:, :5])


@pytest.mark.parametrize("rows", [BATCH, BATCH + 3])
def test_a_buffer_changes_nothing(
    user: Tensor, item: Tensor, seen: tuple[Tensor, Tensor], rows: int
) -> None:
    buffer = torch.full((rows, ITEMS), torch.nan)
    expected = masked_topk(user, item, 7, seen)
    for _ in range(2):
        score, found = masked_topk(user, item, 7, seen, buffer=buffer)
        assert torch.equal(score, expected[0])
        assert torch.equal(found, expected[1])
    assert buffer[BATCH:].isnan().all()


def test_scores_are_differentiable(user: Tensor, item: Tensor, seen: tuple[Tensor, Tensor]) -> None:
    user.requires_grad_()
    score, found = masked_topk(user, item, 3, seen)
    finite = score.isfinite()
    score[finite].sum().backward()
    expected = (item[found] * finite[..., None]).sum(dim=1)
    torch.testing.assert_close(user.grad, expected)


@pytest.mark.parametrize("k", [0, -1, ITEMS + 1])
def test_refuses_k(user: Tensor, item: Tensor, k: int) -> None:
    with pytest.raises(ValueError, match=rf"'k' needs .* number of items, 31 \(got {k}\)"):
        masked_topk(user, item, k)


def test_recommend_items_leaves_out_what_was_seen(user: Tensor, item: Tensor) -> None:
    pairs = (torch.rand(BATCH, ITEMS) < 0.5).index_fill_(0, torch.tensor(6), True)
    pairs[6, [3, 30]] = False  # User 6 has two items left.
    seen = ItemLists.from_edge_index(pairs.nonzero().t(), BATCH)
    wanted = torch.tensor([8, 6, 0, 6])
    found, score = recommend_items(user, item, wanted, 5, seen)
    rows = pairs[wanted].nonzero(as_tuple=True)
    expected_score, expected = masked_topk(user[wanted], item, 5, rows)
    assert torch.equal(score, expected_score)
    assert torch.equal(found, torch.where(score.isfinite(), expected, -1))
    assert set(found[1].tolist()) == set(found[3].tolist()) == {3, 30, -1}
    assert found[1, 2:].tolist() == [-1] * 3


def test_recommend_items_without_seen_items(user: Tensor, item: Tensor) -> None:
    found, score = recommend_items(user, item, torch.tensor([2, 2]), ITEMS)
    assert torch.equal(found[0], found[1])
    torch.testing.assert_close(score[0], (item @ user[2]).sort(descending=True).values)
    assert recommend_items(user, item, torch.tensor([], dtype=torch.long), 3)[0].shape == (0, 3)


@pytest.mark.parametrize("wanted", [[-1, 2], [0, BATCH]])
def test_recommend_items_refuses_users(user: Tensor, item: Tensor, wanted: list[int]) -> None:
    got = rf"got {min(wanted)} to {max(wanted)}"
    with pytest.raises(ValueError, match=rf"'user' needs ids from 0 to 8 \({got}\)"):
        recommend_items(user, item, torch.tensor(wanted), 3)
