import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import knn_edge_type
from mentor_pyg.graph import knn_graph
from mentor_pyg.transforms import ItemKNNGraph, item_graph_cache
from mentor_pyg.transforms.item_graph_cache import cached_knn_graph


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the ``k`` of every search."""
    calls: list[int] = []

    def spy(x: Tensor, k: int, present: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(k)
        return knn_graph(x, k, present)

    monkeypatch.setattr(item_graph_cache, "knn_graph", spy)
    return calls


@pytest.fixture
def items() -> tuple[Tensor, Tensor]:
    """Features and which items have them."""
    return torch.randn(9, 4), torch.arange(9) != 4


def equal(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


def test_a_second_run_does_not_search(
    searched: list[int], items: tuple[Tensor, Tensor], user_cache: Path
) -> None:
    x, present = items
    data = HeteroData()
    data["item"].num_nodes = 9
    data["item"].x_visual, data["item"].has_visual = x, present
    graphs = [ItemKNNGraph(3)(data)[knn_edge_type("visual")] for _ in range(2)]
    assert searched == [3]
    for graph in graphs:
        assert equal((graph.edge_index, graph.edge_weight), knn_graph(x, 3, present))
    (file,) = user_cache.rglob("*.*")
    assert file.parent == user_cache / "mentor_pyg" / "item_graphs"


def test_it_can_be_switched_off(
    searched: list[int], user_cache: Path, items: tuple[Tensor, Tensor]
) -> None:
    data = HeteroData()
    data["item"].num_nodes = 9
    data["item"].x_visual = items[0]
    made = ItemKNNGraph(3, cache=False)(data)
    assert made[knn_edge_type("visual")].edge_index.size(1) == 27
    assert searched == []  # it was searched elsewhere
    assert not user_cache.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda x, k, present: (x, k + 1, present),
        lambda x, k, present: (x.double(), k, present),
        lambda x, k, present: (x.roll(1, 0), k, present),
        lambda x, k, present: (x + torch.eye(9, 4) * 1e-6, k, present),
        lambda x, k, present: (x, k, present.roll(1)),
    ],
)
def test_any_change_is_searched_anew(
    change: Callable[..., Any], searched: list[int], items: tuple[Tensor, Tensor]
) -> None:
    x, present = items
    cached_knn_graph(x, 3, present)
    changed = change(x, 3, present)
    assert equal(cached_knn_graph(*changed), knn_graph(*changed))
    assert len(searched) == 2


def test_a_damaged_file_never_gives_a_wrong_graph(
    searched: list[int],
    items: tuple[Tensor, Tensor],
    user_cache: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    x, present = items
    expected = cached_knn_graph(x, 3, present)
    (file,) = user_cache.rglob("*.safetensors")
    content = file.read_bytes()
    searched.clear()
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        file.write_bytes(damaged)
        assert equal(cached_knn_graph(x, 3, present), expected)
        assert len(searched) == 1, position
        assert f"WARNING  {item_graph_cache.__name__}" in caplog.text
        assert str(file) in caplog.text
        assert equal(cached_knn_graph(x, 3, present), expected)
        assert len(searched) == 1, position  # it was written anew
        searched.clear()
        caplog.clear()


def test_a_file_under_another_name_is_noticed(
    searched: list[int], items: tuple[Tensor, Tensor], user_cache: Path
) -> None:
    x, present = items
    cached_knn_graph(x, 3, present)
    (other,) = user_cache.rglob("*.safetensors")
    expected = cached_knn_graph(-x.abs(), 3, present)
    (file,) = set(user_cache.rglob("*.safetensors")) - {other}
    other.replace(file)
    assert equal(cached_knn_graph(-x.abs(), 3, present), expected)
    assert len(searched) == 3


@pytest.mark.parametrize("fault", ["a file where the folder belongs", "no home", "a full disk"])
def test_a_cache_that_cannot_be_written_is_no_error(
    fault: str,
    items: tuple[Tensor, Tensor],
    user_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no home") if fault == "no home" else OSError(28, "No space left")

    if fault == "no home":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", fail)
    elif fault == "a full disk":
        monkeypatch.setattr("os.replace", fail)
    else:
        user_cache.write_text("")
    with caplog.at_level(logging.INFO, logger=item_graph_cache.__name__):
        found = cached_knn_graph(items[0], 3, items[1])
    assert equal(found, knn_graph(items[0], 3, items[1]))
    assert {record.levelname for record in caplog.records} == {"INFO"}
