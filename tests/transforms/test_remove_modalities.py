import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import SEMANTIC, knn_edge_type, modalities, presence
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.transforms import ItemKNNGraph, MergeItemGraphs, RemoveModalities


@pytest.fixture
def data() -> HeteroData:
    return MergeItemGraphs()(ItemKNNGraph(k=3)(SyntheticMultimodal("tiny")[0]))


def test_takes_features_presence_and_graphs(data: HeteroData) -> None:
    data["item"].has_visual = torch.ones(80, dtype=torch.bool)
    out = RemoveModalities(["visual"])(data)
    assert modalities(out) == ("textual",) and "has_visual" not in out["item"]
    assert knn_edge_type("visual") not in out.edge_types and SEMANTIC not in out.edge_types
    assert out["item"].x_textual is data["item"].x_textual
    assert knn_edge_type("textual") in out.edge_types
    assert modalities(data) == ("visual", "textual") and SEMANTIC in data.edge_types


def test_width_may_stay(data: HeteroData) -> None:
    out = RemoveModalities("visual", keep_width=True)(data)
    assert out["item"].x_visual.shape == data["item"].x_visual.shape
    assert not out["item"].x_visual.any()
    torch.testing.assert_close(presence(out, "visual"), torch.zeros(80, dtype=torch.bool))
    assert data["item"].x_visual.any()
    assert knn_edge_type("visual") not in out.edge_types
    assert presence(out, "textual").all()


def test_what_filling_recorded_goes(tiny_data: HeteroData) -> None:
    tiny_data["item"].filled_visual = torch.arange(80) < 70
    for keep_width in (False, True):
        out = RemoveModalities("visual", keep_width=keep_width)(tiny_data)
        assert "filled_visual" not in out["item"]


def test_a_graph_of_ones_own_stays(data: HeteroData) -> None:
    del data[SEMANTIC]
    for modality in ("visual", "textual"):
        data[knn_edge_type(modality)].pop("merge_weight")
    data[SEMANTIC].edge_index = torch.tensor([[0], [1]])
    assert SEMANTIC in RemoveModalities(["visual"])(data).edge_types


def test_refuses_what_is_not_there(data: HeteroData) -> None:
    with pytest.raises(ValueError, match=r"names 'smell', .* its modalities are \['visual', 'text"):
        RemoveModalities(["smell"])(data)
