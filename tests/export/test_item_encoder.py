from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, ITEM, REV_INTERACTS
from mentor_pyg.export.item_encoder import ItemEncoder, write_onnx
from mentor_pyg.models import MENTOR, Model, Recommender
from mentor_pyg.models.registry import build_model

COLD, BARE = 11, 12
"""An item with features alone, and one that lacks the visual ones."""


@pytest.fixture
def cold_data(tiny_data: HeteroData) -> HeteroData:
    """Data in which nobody has interacted with two items."""
    edge_index = tiny_data[INTERACTS].edge_index
    kept = edge_index[:, (edge_index[1] != COLD) & (edge_index[1] != BARE)]
    tiny_data[INTERACTS].edge_index = kept
    tiny_data[REV_INTERACTS].edge_index = kept.flip(0)
    tiny_data[ITEM].has_visual = torch.arange(tiny_data[ITEM].num_nodes) != BARE
    tiny_data[ITEM].x_visual[BARE] = 0
    return tiny_data


def settings_of(name: str, loss: str) -> dict[str, Any]:
    graph = {"item_graph": False} if name == "mentor" else {"item_graph_weight": 0.0}
    return {"ranking_loss": loss, **graph}


@pytest.mark.parametrize("missing", ["zero", "learned"])
@pytest.mark.parametrize("loss", ["bpr", "softmax"])
@pytest.mark.parametrize("name", ["mentor", "mentor_plus"])
def test_is_the_row_that_the_model_gives_a_cold_item(
    name: str, loss: str, missing: str, cold_data: HeteroData
) -> None:
    model = build_model(name, cold_data, {**settings_of(name, loss), "missing": missing})
    assert isinstance(model, Recommender)
    if name == "mentor_plus":
        for projection in model.projections.values():  # type: ignore[operator]
            nn.init.normal_(projection.bias)
        nn.init.zeros_(model.item_embedding)  # type: ignore[arg-type]
    encoder = ItemEncoder(model)
    features = [cold_data[ITEM][f"x_{m}"][[COLD, BARE]] for m in encoder.channels]
    with torch.no_grad():
        expected = model.encode(cold_data).item["fused"][[COLD, BARE]]
        torch.testing.assert_close(encoder(*features), expected)


@pytest.mark.parametrize("missing", ["zero", "learned"])
@pytest.mark.parametrize("name", ["mentor", "mentor_plus"])
def test_onnx_runtime_gives_what_torch_does(
    name: str, missing: str, tiny_data: HeteroData, tmp_path: Any
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = build_model(name, tiny_data, {"missing": missing})
    assert write_onnx(model, tmp_path / "encoder.onnx") < 1e-5
    session = runtime.InferenceSession(tmp_path / "encoder.onnx")
    assert [one.name for one in session.get_inputs()] == ["visual", "textual"]
    assert [one.name for one in session.get_outputs()] == ["row"]
    given = {m: tiny_data[ITEM][f"x_{m}"].clone() for m in ("visual", "textual")}
    given["textual"][BARE] = 0
    (row,) = session.run(None, {m: x.numpy() for m, x in given.items()})
    with torch.no_grad():
        expected = ItemEncoder(model)(*given.values()).numpy()
    np.testing.assert_allclose(row, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("lightgcn", {}), ("mentor", {"id_in_score": True}), ("mentor_plus", {"content": False})],
)
def test_refuses_rows_that_are_not_of_features(
    name: str, settings: dict[str, Any], tiny_data: HeteroData
) -> None:
    model: Model = build_model(name, tiny_data, settings)
    with pytest.raises(ValueError, match=f"made of features alone.*got {name}"):
        ItemEncoder(model)


@pytest.mark.parametrize("name", ["mentor", "mentor_plus"])
@pytest.mark.parametrize("missing", ["mean", "propagate"])
def test_refuses_features_that_are_made_of_other_items(
    name: str, missing: str, tiny_data: HeteroData
) -> None:
    model = build_model(name, tiny_data, {"missing": missing})
    with pytest.raises(ValueError, match=f"sees no other items.*missing='{missing}'"):
        ItemEncoder(model)


def test_a_difference_is_refused(
    tiny_data: HeteroData, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.setattr("mentor_pyg.export.item_encoder._TOLERANCE", 0.0)
    with pytest.raises(ValueError, match="differs from torch by"):
        write_onnx(MENTOR.from_data(tiny_data), tmp_path / "encoder.onnx")
    assert not list(tmp_path.iterdir())
