from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric import EdgeIndex
from torch_geometric.data import HeteroData

from mentor_pyg.data import presence, validate_data
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.datasets.new_items import read_new_items
from mentor_pyg.transforms import AddItems, FillMissing, ItemKNNGraph, MergeItemGraphs


@pytest.fixture
def data() -> HeteroData:
    """80 items, of which 20 lack images."""
    return SyntheticMultimodal("tiny")[0]


def test_new_items_come_last(data: HeteroData) -> None:
    before = data.clone()
    x = torch.rand(3, 24)
    x[1], x[2] = torch.nan, 0
    found = AddItems({"visual": x})(data)
    validate_data(found)
    assert found["item"].num_nodes == 83
    assert torch.equal(found["item"].x_visual[:80], before["item"].x_visual)
    assert torch.equal(found["item"].x_visual[80], x[0])
    assert presence(found, "visual")[80:].tolist() == [True, False, False]
    assert torch.equal(presence(found, "visual")[:80], presence(before, "visual"))
    assert not presence(found, "textual")[80:].any()  # It was not named.
    assert torch.equal(presence(found, "textual")[:80], presence(before, "textual"))
    assert data["item"].num_nodes == 80 and data["item"].x_visual.size(0) == 80


def test_graphs_are_to_be_made_anew(data: HeteroData) -> None:
    made = MergeItemGraphs({"visual": 0.5, "textual": 0.5})(ItemKNNGraph(5)(data))
    assert {kind[1] for kind in made.edge_types} > {"semantic", "visual_knn"}
    found = AddItems({"visual": torch.rand(1, 24)})(made)
    assert {kind[1] for kind in found.edge_types} == {"interacts", "rev_interacts"}
    found["item", "semantic", "item"].edge_index = torch.tensor([[0], [1]])
    with pytest.raises(ValueError, match="item graph of your own"):
        AddItems({"visual": torch.rand(1, 24)})(found)


def test_original_ids(data: HeteroData) -> None:
    assert AddItems(raw_id=["80", "81"])(data.clone())["item"].num_nodes == 82
    assert AddItems(raw_id=range(80, 82))(data)["item"].num_nodes == 82
    with pytest.raises(ValueError, match=r"numbers from 80 on \(got \['x'\]"):
        AddItems(raw_id=["x"])(data)
    data["item"].raw_id = [f"i{number}" for number in range(80)]
    assert AddItems(raw_id=["new"])(data)["item"].raw_id[-2:] == ["i79", "new"]
    numbered = data.clone()
    numbered["item"].raw_id = list(range(80))
    with pytest.raises(ValueError, match="'3', which is in the data already"):
        AddItems(raw_id=["3"])(numbered)
    for raw_id, message in (
        (["i3"], "'i3', which is in the data already"),
        (["a", "a"], "more than once"),
        (None, "'raw_id' needs the original ids"),
    ):
        with pytest.raises(ValueError, match=message):
            AddItems({"visual": torch.rand(len(raw_id or "x"), 24)}, raw_id)(data)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"smell": torch.rand(1, 3)}, "has 'smell', which the data does not have"),
        ({"visual": torch.rand(1, 3)}, r"24 numbers for 'visual', .*\(got the shape \[1, 3\]"),
        ({"visual": torch.full((1, 24), torch.inf)}, "needs finite rows"),
        ({"visual": torch.full((1, 24), 1e39, dtype=torch.float64)}, "needs finite rows"),
        ({"visual": torch.tensor([[torch.nan] + [1.0] * 23])}, "rows of NaN throughout"),
    ],
)
def test_refuses_features_that_do_not_fit(
    data: HeteroData, features: dict[str, torch.Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        AddItems(features)(data)


def test_what_filling_recorded_goes() -> None:
    data = SyntheticMultimodal("tiny", missing=0.2)[0].clone()
    data["user", "interacts", "item"].edge_index = torch.tensor([[0], [0]])
    filled = FillMissing("propagate")(data)
    assert "filled_visual" in filled["item"]  # Not all items could be.
    out = AddItems({"visual": torch.rand(1, 24)})(filled)
    assert "filled_visual" not in out["item"] and "filled_visual" in filled["item"]


def test_refuses_what_new_items_have_no_value_of(data: HeteroData) -> None:
    filled = FillMissing("propagate")(data)
    filled["item"].price = torch.rand(80)
    with pytest.raises(ValueError, match="price"):
        AddItems({"visual": torch.rand(1, 24)})(filled)


@pytest.mark.parametrize(
    ("features", "raw_id"),
    [({}, None), ({"a": torch.rand(2, 3)}, ["x"]), ({"a": torch.rand(0, 3)}, None), ({}, [])],
)
def test_needs_items(features: dict[str, torch.Tensor], raw_id: list[str] | None) -> None:
    with pytest.raises(ValueError, match="need a row for each new item"):
        AddItems(features, raw_id)


def test_reads_a_folder(data: HeteroData, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(FileNotFoundError, match=r"no table of new items; put items\.csv there"):
        read_new_items(tmp_path)
    (tmp_path / "items.csv").write_text("id,title\n80,One\n81,Two\n")
    x = np.random.default_rng(0).random((2, 24), dtype=np.float32)
    x[1] = np.nan
    np.save(tmp_path / "image_feat.npy", x)
    found = read_new_items(tmp_path)(data)
    assert found["item"].x_visual[80].tolist() == x[0].tolist()
    assert presence(found, "visual")[80:].tolist() == [True, False]


@pytest.mark.parametrize("kind", [torch.tensor, np.array, tuple])
def test_original_ids_are_compared_whatever_holds_them(data: HeteroData, kind: Any) -> None:
    data["item"].raw_id = kind(range(100, 180))
    with pytest.raises(ValueError, match="'103', which is in the data already"):
        AddItems(raw_id=[103])(data.clone())
    assert AddItems(raw_id=[7])(data)["item"].raw_id[-2:] == [179, 7]


def test_edges_of_pyg_do_not_keep_the_number_of_items(data: HeteroData) -> None:
    edges = data["user", "interacts", "item"]
    edges.edge_index = EdgeIndex(edges.edge_index, sparse_size=(60, 80))
    validate_data(AddItems({"visual": torch.rand(2, 24)})(data))
