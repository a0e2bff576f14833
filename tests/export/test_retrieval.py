import pytest
import torch

from mentor_pyg.export import ItemIndex, best_items
from mentor_pyg.export.retrieval import IndexKind, index_recall

NOTHING = torch.empty(0, dtype=torch.long)


def clustered(rows: int, width: int = 16) -> torch.Tensor:
    """Rows around 20 centres, as learned ones are; FAISS cannot compress rows without structure."""
    torch.manual_seed(0)
    return torch.randn(20, width)[torch.arange(rows) % 20] + 0.5 * torch.randn(rows, width)


def test_best_items_are_sorted_and_leave_out() -> None:
    item = torch.tensor([[1.0], [5.0], [3.0], [4.0], [2.0]])
    found, score = best_items(item, torch.tensor([2.0]), 2, torch.tensor([1]))
    assert found.tolist() == [3, 2]
    assert score.tolist() == [8, 6]


def test_fewer_items_where_fewer_are_left() -> None:
    found, _ = best_items(torch.ones(3, 2), torch.ones(2), 3, torch.tensor([0, 2]))
    assert found.tolist() == [1]


@pytest.mark.parametrize("kind", ["exact", "hnsw", "ivfpq"])
def test_an_index_finds_the_best_and_scores_them_exactly(kind: IndexKind) -> None:
    pytest.importorskip("faiss")
    item = clustered(2000)
    built = ItemIndex.build(kind, item)
    read = ItemIndex.from_bytes(kind, built.to_bytes())
    least = 0.8 if kind == "ivfpq" else 0.99
    assert index_recall(read, item[:300], item, 10) > least
    without = best_items(item, item[0], 50, NOTHING)[0]
    found, score = best_items(item, item[0], 10, without, read)
    assert not torch.isin(found, without).any()
    assert found.numel() == 10
    assert torch.equal(score, score.sort(descending=True)[0])
    torch.testing.assert_close(score, item[found] @ item[0])
    truth = best_items(item, item[0], 10, without)[0]
    assert torch.isin(found, truth).sum() >= 10 * least


def test_exact_is_exact() -> None:
    pytest.importorskip("faiss")
    item = clustered(500)
    built = ItemIndex.build("exact", item)
    for query in item[:20]:
        expected = best_items(item, query, 7, torch.tensor([3, 400]))
        found = best_items(item, query, 7, torch.tensor([3, 400]), built)
        assert found[0].tolist() == expected[0].tolist()


def test_recall_counts_what_is_missed() -> None:
    pytest.importorskip("faiss")
    item = clustered(400)
    half = ItemIndex("exact", ItemIndex.build("exact", item[:200]).index)
    assert 0.3 < index_recall(half, item, item, 10) < 0.7


def test_all_items_are_compared_where_an_index_finds_too_few() -> None:
    pytest.importorskip("faiss")
    item = clustered(80)
    built = ItemIndex.build("ivfpq", item)  # one of two clusters is searched
    for query in item:
        without = torch.arange(10)
        found, score = best_items(item, query, 50, without, built)
        expected = best_items(item, query, 50, without)
        assert torch.equal(found, expected[0])
        assert torch.equal(score, expected[1])


@pytest.mark.parametrize("rows", [78, 600, 10_000])
def test_sizes_fit_the_number_of_items(rows: int) -> None:
    pytest.importorskip("faiss")
    sizes = ItemIndex.build("ivfpq", clustered(rows, 12)).parameters()
    assert sizes["clusters"] * 39 <= rows
    assert 2 ** sizes["bits"] * 39 <= rows
    assert 1 <= sizes["searched"] <= sizes["clusters"]
    assert sizes["codes"] == 3


def test_refuses_too_few_items_and_unknown_kinds() -> None:
    pytest.importorskip("faiss")
    with pytest.raises(ValueError, match=r"ivfpq needs at least 78 items \(got 77\)"):
        ItemIndex.build("ivfpq", clustered(77))
    with pytest.raises(ValueError, match="'index' needs to be one of"):
        ItemIndex.build("flat", clustered(77))  # type: ignore[arg-type]
