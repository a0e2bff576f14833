import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import presence, validate_data
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.transforms import DropFeatures, FillMissing, ItemKNNGraph, MergeItemGraphs


@pytest.fixture
def data() -> HeteroData:
    """The tiny set with gaps, among them item 7, which nobody has."""
    data = DropFeatures(0.4)(SyntheticMultimodal("tiny")[0].clone())
    edges = data["user", "interacts", "item"]
    edges.edge_index = edges.edge_index[:, edges.edge_index[1] != 7]
    data["item", "rev_interacts", "user"].edge_index = edges.edge_index.flip(0)
    data["item"].has_visual[7] = False
    data["item"].x_visual[7] = 0
    data["item"].has_textual[:] = True
    return data


def test_the_mean_is_of_the_items_that_have_the_modality(data: HeteroData) -> None:
    has, x = data["item"].has_visual, data["item"].x_visual
    found = FillMissing("mean")(data)
    validate_data(found)
    assert "has_visual" not in found["item"]
    mean = sum(x[i] for i in range(80) if has[i]) / int(has.sum())
    for item in range(80):
        assert torch.allclose(found["item"].x_visual[item], x[item] if has[item] else mean)
    assert torch.equal(found["item"].x_textual, data["item"].x_textual)
    assert "has_visual" in data["item"]


def propagated(data: HeteroData, x: Tensor, has: Tensor, iterations: int) -> Tensor:
    """Return what the formula gives, node by node."""
    edges = data["user", "interacts", "item"].edge_index.T.tolist()
    users, items = torch.zeros(60), torch.zeros(80)
    for user, item in edges:
        users[user] += 1
        items[item] += 1
    of_user, of_item = torch.zeros(60, x.size(1)), x.clone()
    for _ in range(iterations):
        new_user, new_item = torch.zeros_like(of_user), torch.zeros_like(of_item)
        for user, item in edges:
            weight = 1 / (users[user] * items[item]).sqrt()
            new_user[user] += weight * of_item[item]
            new_item[item] += weight * of_user[user]
        new_item[has] = x[has]
        of_user, of_item = new_user, new_item
    return of_item


def test_propagation_keeps_what_items_have(data: HeteroData) -> None:
    has, x = data["item"].has_visual, data["item"].x_visual
    found = FillMissing("propagate", num_iterations=4)(data)
    validate_data(found)
    expected = propagated(data, x, has, 4)
    assert torch.allclose(found["item"].x_visual, expected, atol=1e-5)
    assert torch.equal(found["item"].x_visual[has], x[has])
    # Nothing arrives at an item that nobody has.
    assert torch.equal(presence(found, "visual"), expected.any(dim=1))
    assert not found["item"].x_visual[7].any()


def test_a_modality_that_no_item_has_stays_absent(data: HeteroData) -> None:
    data["item"].has_visual[:] = False
    data["item"].x_visual[:] = 0
    for how in ("mean", "propagate"):
        assert not presence(FillMissing(how)(data), "visual").any()


def test_graphs_are_made_again(data: HeteroData) -> None:
    made = MergeItemGraphs()(ItemKNNGraph(k=3)(data))
    kept = [kind for kind in FillMissing()(made).edge_types if kind[0] == kind[2]]
    assert kept == [("item", "textual_knn", "item")]  # No feature of theirs was filled in.
    made["item", "visual_knn", "item"].pop("k")
    with pytest.raises(ValueError, match="item graph of your own"):
        FillMissing()(made)


def test_refuses_what_is_none() -> None:
    with pytest.raises(ValueError, match=r"'how' needs to be one of \['mean', 'propagate'\]"):
        FillMissing("zero")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'num_iterations' needs to be even and positive"):
        FillMissing("propagate", 3)
