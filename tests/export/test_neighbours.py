import torch
import torch.nn.functional as F
from torch_geometric.data import HeteroData

from mentor_pyg.data import ITEM, knn_edge_type, modalities
from mentor_pyg.export.neighbours import item_neighbours
from mentor_pyg.models import MENTOR, LightGCN, MENTORConfig


def test_nearness_is_the_weighted_cosine_over_the_graphs(tiny_data: HeteroData) -> None:
    weights = {"visual": 0.3, "textual": 0.7}
    config = MENTORConfig(k={"visual": 4, "textual": 6}, modality_weights=weights)
    found = item_neighbours(MENTOR.from_data(tiny_data, config), tiny_data, k=8)
    assert found is not None
    assert found.from_model
    assert found.weights == weights
    parts = {}
    for modality, k in (("visual", 4), ("textual", 6)):
        x = F.normalize(tiny_data[ITEM][f"x_{modality}"])
        cosine = (x @ x.T).fill_diagonal_(-2)
        near, place = cosine.topk(k)
        parts[modality] = torch.zeros_like(cosine).scatter_(1, place, weights[modality] * near)
    total = parts["visual"] + parts["textual"]
    for item in range(total.size(0)):
        others = found.item[item][found.item[item] >= 0]
        expected = total[item].topk(others.numel()).values
        torch.testing.assert_close(total[item][others], expected, atol=1e-5, rtol=1e-4)
        assert others.numel() == min(8, int((total[item] != 0).sum()))
        for modality, table in found.parts.items():
            near = table[item][: others.numel()]
            torch.testing.assert_close(near, parts[modality][item][others], atol=1e-5, rtol=1e-4)


def test_features_stand_in_where_the_model_has_no_item_graphs(tiny_data: HeteroData) -> None:
    found = item_neighbours(LightGCN.from_data(tiny_data), tiny_data)
    assert found is not None
    assert not found.from_model
    assert set(found.parts) == set(modalities(tiny_data))
    assert not any(kind[1].endswith("_knn") for kind in tiny_data.edge_types)


def test_an_item_without_features_has_none(tiny_data: HeteroData) -> None:
    for modality in modalities(tiny_data):
        present = torch.ones(tiny_data[ITEM].num_nodes, dtype=torch.bool)
        present[5] = False
        tiny_data[ITEM][f"has_{modality}"] = present
        tiny_data[ITEM][f"x_{modality}"][5] = 0
    found = item_neighbours(LightGCN.from_data(tiny_data), tiny_data)
    assert found is not None
    assert found.item[5].tolist() == [-1] * 10
    assert not (found.item == 5).any()


def test_none_without_features(tiny_data: HeteroData) -> None:
    for modality in modalities(tiny_data):
        del tiny_data[ITEM][f"x_{modality}"]
    assert item_neighbours(LightGCN.from_data(tiny_data), tiny_data) is None


def test_no_more_than_asked_for(tiny_data: HeteroData) -> None:
    found = item_neighbours(LightGCN.from_data(tiny_data), tiny_data, k=3)
    assert found is not None
    assert found.item.shape == (tiny_data[ITEM].num_nodes, 3)
    assert (found.item >= 0).all()
    nearness = sum(found.parts.values(), torch.zeros(()))
    assert (nearness.diff(dim=1) <= 0).all()


def test_a_graph_of_ones_own_without_weights_weighs_ones(tiny_data: HeteroData) -> None:
    tiny_data[knn_edge_type("visual")].edge_index = torch.tensor([[3, 4], [0, 1]])
    found = item_neighbours(LightGCN.from_data(tiny_data), tiny_data)
    assert found is not None and found.from_model
    assert found.item[:3, 0].tolist() == [3, 4, -1]
    assert found.parts["visual"][:3, 0].tolist() == [1, 1, 0]
