import copy

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import DatasetAdapter

from mentor_pyg.data import SEMANTIC, knn_edge_type
from mentor_pyg.transforms import ItemKNNGraph, MergeItemGraphs


def knn_data(*names: str) -> HeteroData:
    generator = torch.Generator().manual_seed(0)
    data = HeteroData()
    data["item"].num_nodes = 9
    for name in names:
        data["item"][f"x_{name}"] = torch.randn(9, 4, generator=generator)
    return ItemKNNGraph(k=3, cache=False)(data) if names else data


def dense(data: HeteroData, edge_type: tuple[str, str, str], binary: bool = False) -> Tensor:
    """Return the matrix with the neighbours of item i in row i."""
    out = torch.zeros(9, 9)
    source, target = data[edge_type].edge_index
    out[target, source] = 1.0 if binary else data[edge_type].edge_weight
    return out


def test_equals_the_weighted_sum_of_row_normalised_binary_graphs() -> None:
    out = MergeItemGraphs({"visual": 0.3, "textual": 0.7})(knn_data("visual", "textual"))
    expected = (
        0.3 * dense(out, knn_edge_type("visual"), binary=True)
        + 0.7 * dense(out, knn_edge_type("textual"), binary=True)
    ) / 3
    torch.testing.assert_close(dense(out, SEMANTIC), expected)
    torch.testing.assert_close(dense(out, SEMANTIC).sum(dim=1), torch.ones(9))
    assert dense(out, SEMANTIC).diagonal().sum() == 0
    assert out[knn_edge_type("visual")].merge_weight == 0.3


@pytest.mark.parametrize(
    ("names", "weights"),
    [
        (("visual", "textual"), {"visual": 0.1, "textual": 0.9}),
        (("visual", "acoustic"), {"visual": 0.5, "acoustic": 0.5}),
        (("tabular",), {"tabular": 1.0}),
    ],
)
def test_default_weights(names: tuple[str, ...], weights: dict[str, float]) -> None:
    out = MergeItemGraphs()(knn_data(*names))
    assert {name: out[knn_edge_type(name)].merge_weight for name in names} == weights


def test_an_item_without_a_modality_keeps_its_row_sum() -> None:
    data = knn_data("visual", "textual")
    data["item"].has_visual = torch.arange(9) != 2
    del data[knn_edge_type("visual")]  # of other items
    out = MergeItemGraphs()(ItemKNNGraph(k=3, cache=False)(data))
    torch.testing.assert_close(dense(out, SEMANTIC).sum(dim=1), torch.ones(9))
    assert not dense(out, knn_edge_type("visual"))[2].any()
    torch.testing.assert_close(
        dense(out, SEMANTIC)[2], dense(out, knn_edge_type("textual"), binary=True)[2] / 3
    )


def test_leaves_the_input_alone() -> None:
    data = knn_data("visual", "textual")
    before = copy.deepcopy(data)
    MergeItemGraphs()(data)
    assert str(data) == str(before)
    assert SEMANTIC not in data.edge_types
    assert "merge_weight" not in data[knn_edge_type("visual")]


def test_the_same_weights_leave_what_is_there() -> None:
    first = MergeItemGraphs({"visual": 0.5, "textual": 0.5})(knn_data("visual", "textual"))
    weight = first[SEMANTIC].edge_weight
    again = MergeItemGraphs({"textual": 0.5, "visual": 0.5})(first)
    assert again[SEMANTIC].edge_weight is weight


def test_other_weights_replace_what_a_transform_made() -> None:
    data = knn_data("visual", "textual")
    weights = {"visual": 0.3, "textual": 0.7}
    first = MergeItemGraphs()(data)
    second, expected = (MergeItemGraphs(weights)(x) for x in (first, data))
    assert torch.equal(dense(second, SEMANTIC), dense(expected, SEMANTIC))
    assert not torch.equal(dense(first, SEMANTIC), dense(second, SEMANTIC))
    assert first[knn_edge_type("visual")].merge_weight == 0.1
    assert second[knn_edge_type("visual")].merge_weight == 0.3


def test_a_modality_that_came_later_is_merged() -> None:
    data = MergeItemGraphs()(knn_data("visual"))
    data["item"].x_acoustic = torch.rand(9, 4)
    data[knn_edge_type("acoustic")].edge_index = torch.tensor([[0], [1]])  # somebody's own
    out = MergeItemGraphs()(data)
    assert dense(out, SEMANTIC)[1, 0] == 0.5
    assert out[knn_edge_type("acoustic")].merge_weight == 0.5


def test_keeps_a_merged_graph_of_your_own() -> None:
    for data in (knn_data("visual"), knn_data()):
        data[SEMANTIC].edge_index, data[SEMANTIC].edge_weight = torch.tensor([[0], [1]]), [1.0]
        out = MergeItemGraphs()(data)
        assert str(out) == str(data)
        assert out[SEMANTIC].edge_index is data[SEMANTIC].edge_index


def test_functional_name_and_repr() -> None:
    (out,) = DatasetAdapter([knn_data("visual")]).merge_item_graphs()
    assert SEMANTIC in out.edge_types
    transform = MergeItemGraphs({"visual": 1.0})
    assert repr(transform) == "MergeItemGraphs(modality_weights={'visual': 1.0})"


def test_refuses_data_without_item_graphs() -> None:
    with pytest.raises(ValueError, match=r"no item graphs.*ItemKNNGraph"):
        MergeItemGraphs()(knn_data())


def test_refuses_unknown_weights() -> None:
    with pytest.raises(ValueError, match=r"'modality_weights'.*textual"):
        MergeItemGraphs({"visual": 0.5, "textual": 0.5})(knn_data("visual"))
