import pytest
import torch

from mentor_pyg.export import EmbeddingTables, FoldIn
from mentor_pyg.graph import ItemLists


def tables(item: torch.Tensor) -> EmbeddingTables:
    seen = ItemLists(torch.zeros(4, dtype=torch.long), torch.empty(0, dtype=torch.long))
    return EmbeddingTables(torch.randn(3, item.size(1)), item, seen)


def test_is_the_least_squares_of_the_list_on_the_rows() -> None:
    item = torch.randn(30, 5)
    known = tables(item)
    chosen = torch.zeros(30)
    chosen[[2, 7, 20]] = 1
    strength = 0.7 * (item.T @ item).trace() / 5
    # Ridge as plain least squares: more rows, whose target is zero.
    rows = torch.cat([item, strength.sqrt() * torch.eye(5)])
    target = torch.cat([chosen, torch.zeros(5)])
    expected = torch.linalg.lstsq(rows, target.unsqueeze(1)).solution[:, 0]
    expected *= known.user.norm(dim=1).mean() / expected.norm()
    torch.testing.assert_close(FoldIn(known, ridge=0.7)([7, 2, 20, 7]), expected)


def test_rows_of_zeros_give_zeros() -> None:
    assert FoldIn(tables(torch.zeros(4, 3)))([1]).tolist() == [0, 0, 0]


@pytest.mark.parametrize("items", [[], [-1], [4]])
def test_refuses_items_that_are_none(items: list[int]) -> None:
    with pytest.raises(ValueError, match="'items' needs ids from 0 to 3"):
        FoldIn(tables(torch.ones(4, 3)))(items)


def test_refuses_no_ridge() -> None:
    with pytest.raises(ValueError, match="'ridge' needs to be above 0"):
        FoldIn(tables(torch.ones(4, 3)), ridge=0)
