import copy
from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import DatasetAdapter

from mentor_pyg.data import knn_edge_type
from mentor_pyg.graph import knn_graph
from mentor_pyg.transforms import ItemKNNGraph


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


@pytest.mark.parametrize("k", [0, -2, 1.5, False])
def test_refuses_k(k: Any) -> None:
    with pytest.raises(ValueError, match=rf"'k' needs to be a positive integer.*got {k!r}"):
        ItemKNNGraph(k)


def test_refuses_k_larger_than_the_items_that_have_a_modality() -> None:
    ItemKNNGraph(k=8, modalities=["visual"])(item_data())
    with pytest.raises(ValueError, match=r"'k' needs.*'acoustic', 8 \(got 8\)"):
        ItemKNNGraph(k=8)(item_data())


def test_refuses_unknown_modalities() -> None:
    with pytest.raises(ValueError, match=r"'modalities' names 'textual'.*\['visual', 'acoustic'\]"):
        ItemKNNGraph(k=3, modalities=["textual"])(item_data())
    with pytest.raises(TypeError, match=r"'modalities' needs a sequence.*'visual'"):
        ItemKNNGraph(k=3, modalities="visual")
