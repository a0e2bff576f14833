import pytest
import torch
from torch import Tensor

from mentor_pyg.graph import (
    Adjacency,
    knn_graph,
    merge_item_graphs,
    normalize_rows,
    pool_item_graphs,
)

ITEMS, K = 12, 3
WEIGHTS = {"visual": 0.25, "textual": 0.75}


def dense(edge_index: Tensor, weight: Tensor, size: int = ITEMS) -> Tensor:
    """Return the matrix with targets as rows; parallel edges add up."""
    out = torch.zeros(size, size, dtype=weight.dtype)
    return out.index_put((edge_index[1], edge_index[0]), weight, accumulate=True)


def graph_without(missing: list[int]) -> tuple[Tensor, Tensor]:
    """Return a row-normalised graph whose missing items have no edges at all."""
    present = torch.ones(ITEMS, dtype=torch.bool)
    present[missing] = False
    edge_index, _ = knn_graph(torch.randn(ITEMS, 4), K, present)
    return edge_index, normalize_rows(edge_index, ITEMS)


@pytest.mark.parametrize("weights", [(0.25, 0.75), (0.1, 0.9), (0.65, 0.15, 0.2)])
def test_merge_of_complete_graphs_is_the_weighted_sum(weights: tuple[float, ...]) -> None:
    # The last weights do not add up to one in float32, which must not show.
    by_name = {f"m{n}": weight for n, weight in enumerate(weights)}
    graphs = {name: graph_without([]) for name in by_name}
    edge_index, weight = merge_item_graphs(graphs, by_name, ITEMS)
    expected = sum(by_name[m] * dense(*graph) for m, graph in graphs.items())
    assert torch.equal(dense(edge_index, weight), expected)
    assert edge_index.unique(dim=1).size(1) == edge_index.size(1)


@pytest.mark.parametrize(
    "weights", [WEIGHTS, {"visual": 0.1, "textual": 0.9}, {"visual": 2, "textual": 1}]
)
def test_merge_scales_items_that_lack_a_modality(weights: dict[str, float]) -> None:
    lacks = {"visual": [0, 1, 2], "textual": [2, 3]}
    graphs = {modality: graph_without(items) for modality, items in lacks.items()}
    merged = dense(*merge_item_graphs(graphs, weights, ITEMS))
    visual, textual = (dense(*graphs[modality]) for modality in lacks)
    total = sum(weights.values())
    for item in range(ITEMS):
        if item == 2:
            expected = torch.zeros(ITEMS)
        elif item in lacks["visual"]:
            expected = total * textual[item]
        elif item in lacks["textual"]:
            expected = total * visual[item]
        else:
            expected = weights["visual"] * visual[item] + weights["textual"] * textual[item]
            assert torch.equal(merged[item], expected)  # To the last bit.
        torch.testing.assert_close(merged[item], expected)


def test_merge_of_one_graph_is_the_graph() -> None:
    graph = graph_without([4])
    assert torch.equal(dense(*merge_item_graphs({"a": graph}, {"a": 1.0}, ITEMS)), dense(*graph))


def test_a_modality_of_weight_zero_adds_nothing() -> None:
    graphs = {"a": graph_without([1]), "b": graph_without([])}
    merged = dense(*merge_item_graphs(graphs, {"a": 1.0, "b": 0.0}, ITEMS))
    assert torch.equal(merged, dense(*graphs["a"]))


def test_pooling_keeps_the_largest_weight_of_every_edge() -> None:
    edges = [torch.tensor([[0, 1, 2], [1, 2, 0]]), torch.tensor([[1, 2, 0], [2, 0, 2]])]
    weights = [torch.tensor([0.5, -0.5, 0.25]), torch.tensor([-0.25, 0.75, -1.0])]
    graphs = [Adjacency.from_edge_index(*g, num_nodes=4) for g in zip(edges, weights, strict=True)]
    expected = torch.zeros(4, 4)
    expected[[1, 2, 0, 2], [0, 1, 2, 0]] = torch.tensor([0.5, -0.25, 0.75, -1.0])
    pooled = pool_item_graphs(graphs)
    assert torch.equal(pooled.to_dense(), expected)
    assert pooled.num_edges == 4
    assert torch.equal(pool_item_graphs(graphs[:1]).to_dense(), graphs[0].to_dense())
