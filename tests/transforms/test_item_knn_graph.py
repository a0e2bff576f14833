import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import DatasetAdapter

from mentor_pyg.data import SEMANTIC, knn_edge_type, validate_data
from mentor_pyg.graph import knn_graph
from mentor_pyg.transforms import ItemKNNGraph, MergeItemGraphs


def item_data() -> HeteroData:
    generator = torch.Generator().manual_seed(0)
    data = HeteroData()
    data["user"].num_nodes = 3
    data["item"].num_nodes = 9
    data["item"].x_visual = torch.randn(9, 4, generator=generator)
    data["item"].x_acoustic = torch.randn(9, 5, generator=generator)
    data["item"].has_acoustic = torch.arange(9) != 4
    return data


def test_adds_one_graph_per_modality() -> None:
    data = item_data()
    out = ItemKNNGraph(k=3)(data)
    for modality, count in (("visual", 9), ("acoustic", 8)):
        store = out[knn_edge_type(modality)]
        assert store.edge_index.shape == (2, 3 * count)
        present = data["item"].get(f"has_{modality}")
        edge_index, similarity = knn_graph(data["item"][f"x_{modality}"], 3, present)
        assert torch.equal(store.edge_index, edge_index)
        assert torch.equal(store.edge_weight, similarity)
    assert not (out[knn_edge_type("acoustic")].edge_index == 4).any()


def test_leaves_the_input_alone() -> None:
    data = item_data()
    before = copy.deepcopy(data)
    ItemKNNGraph(k=3)(data)
    assert str(data) == str(before)
    assert data.edge_types == []


def test_replaces_graphs_without_touching_the_input() -> None:
    first = ItemKNNGraph(k=3)(item_data())
    edge_index = first[knn_edge_type("visual")].edge_index
    second = ItemKNNGraph(k=2)(first)
    assert first[knn_edge_type("visual")].edge_index is edge_index
    assert second[knn_edge_type("visual")].edge_index.size(1) == 18


def test_chosen_modalities() -> None:
    out = ItemKNNGraph(k=3, modalities=["acoustic"])(item_data())
    assert out.edge_types == [knn_edge_type("acoustic")]


def test_functional_name_and_repr() -> None:
    (out,) = DatasetAdapter([item_data()]).item_knn_graph(k=3)
    assert knn_edge_type("visual") in out.edge_types
    assert repr(ItemKNNGraph(5, ("visual",))) == "ItemKNNGraph(k=5, modalities=('visual',))"


@pytest.mark.parametrize("k", [0, -2, 1.5, False, {"visual": 0}])
def test_refuses_k(k: Any) -> None:
    with pytest.raises(
        ValueError, match=r"'k' needs to be a positive integer.*got (0|-2|1.5|False)"
    ):
        ItemKNNGraph(k)


def test_takes_integers_of_numpy() -> None:
    store = ItemKNNGraph(np.int64(3))(item_data())[knn_edge_type("visual")]
    assert type(store.k) is int
    assert store.edge_index.size(1) == 27


def test_one_number_per_modality() -> None:
    out = ItemKNNGraph({"visual": 2, "acoustic": 4})(item_data())
    assert [out[knn_edge_type(m)].edge_index.size(1) for m in ("visual", "acoustic")] == [18, 32]
    assert [out[knn_edge_type(m)].k for m in ("visual", "acoustic")] == [2, 4]
    for k in ({"visual": 2}, {"visual": 2, "acoustic": 4, "textual": 3}):
        with pytest.raises(ValueError, match=r"'k' needs .* \['visual', 'acoustic'\].*got \{"):
            ItemKNNGraph(k)(item_data())


@pytest.mark.parametrize(("k", "capped"), [(8, ["acoustic"]), (20, ["visual", "acoustic"])])
def test_k_is_capped_with_a_note(
    k: int, capped: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    out = ItemKNNGraph(k)(item_data())
    for modality, count in (("visual", 9), ("acoustic", 8)):
        store = out[knn_edge_type(modality)]
        assert store.edge_index.size(1) == count * min(k, count - 1)
        assert store.k == k
    notes = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(notes) == len(capped)
    for note, modality in zip(notes, capped, strict=True):
        assert f"'{modality}'" in note
        assert f"k={7 if modality == 'acoustic' else 8} and not the {k} asked for" in note
    validate_item_graphs(out)


def validate_item_graphs(data: HeteroData) -> None:
    data["user", "interacts", "item"].edge_index = torch.tensor([[0], [0]])
    validate_data(data)


@pytest.mark.parametrize("count", [0, 1])
def test_a_modality_of_a_single_item_gets_no_edges(count: int) -> None:
    data = item_data()
    data["item"].has_acoustic = torch.arange(9) < count
    out = MergeItemGraphs()(ItemKNNGraph(k=3)(data))
    store = out[knn_edge_type("acoustic")]
    assert store.edge_index.shape == (2, 0)
    assert store.edge_index.dtype == torch.long
    assert store.edge_weight.shape == (0,)
    weight = torch.zeros(9).scatter_add(0, out[SEMANTIC].edge_index[1], out[SEMANTIC].edge_weight)
    torch.testing.assert_close(weight, torch.ones(9))


def test_the_same_k_leaves_what_is_there() -> None:
    first = MergeItemGraphs()(ItemKNNGraph(k=3)(item_data()))
    again = ItemKNNGraph({"visual": 3, "acoustic": 2})(first)
    visual, acoustic = knn_edge_type("visual"), knn_edge_type("acoustic")
    assert again[visual].edge_index is first[visual].edge_index
    assert again[acoustic].edge_index.size(1) == 16
    assert "merge_weight" not in again[visual]  # nothing is merged any more
    assert SEMANTIC not in again.edge_types
    kept = ItemKNNGraph(k=3)(first)
    assert kept[SEMANTIC].edge_index is first[SEMANTIC].edge_index
    assert kept[visual].merge_weight == 0.5


def test_a_merged_graph_goes_with_the_graphs_it_merged() -> None:
    first = MergeItemGraphs()(ItemKNNGraph(k=3)(item_data()))
    second = ItemKNNGraph(k=2)(first)
    assert SEMANTIC not in second.edge_types
    assert "merge_weight" not in second[knn_edge_type("acoustic")]
    assert first[knn_edge_type("acoustic")].merge_weight == 0.5
    expected = MergeItemGraphs()(ItemKNNGraph(k=2)(item_data()))
    assert torch.equal(
        MergeItemGraphs()(second)[SEMANTIC].edge_weight, expected[SEMANTIC].edge_weight
    )


def test_keeps_graphs_of_your_own() -> None:
    data = item_data()
    visual = knn_edge_type("visual")
    for kind in (visual, SEMANTIC):
        data[kind].edge_index, data[kind].edge_weight = torch.tensor([[0], [1]]), torch.ones(1)
    out = MergeItemGraphs()(ItemKNNGraph(k=3)(data))
    for kind in (visual, SEMANTIC):
        assert out[kind].to_dict().keys() == {"edge_index", "edge_weight"}
        assert out[kind].edge_index is data[kind].edge_index
    assert out[knn_edge_type("acoustic")].edge_index.size(1) == 24


def test_refuses_unknown_modalities() -> None:
    with pytest.raises(ValueError, match=r"'modalities' names 'textual'.*\['visual', 'acoustic'\]"):
        ItemKNNGraph(k=3, modalities=["textual"])(item_data())
    with pytest.raises(TypeError, match=r"'modalities' needs a sequence.*'visual'"):
        ItemKNNGraph(k=3, modalities="visual")
