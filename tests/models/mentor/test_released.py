from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.models import MENTOR, MENTORConfig

USERS, ITEMS, DIM, CHANNELS = 60, 80, 64, {"v": 24, "t": 16, "id": 64}


@pytest.fixture(scope="module")
def data() -> HeteroData:
    return SyntheticMultimodal("tiny")[0]


@pytest.fixture
def state_dict() -> dict[str, Tensor]:
    """Return random parameters with the released code's names and shapes."""
    shapes: dict[str, tuple[int, ...]] = {
        "weight_u": (USERS, 2, 1),
        "weight_i": (ITEMS, 2, 1),
        "id_feat": (ITEMS, DIM),
        "mlp.weight": (2 * DIM, 2 * DIM),
        "mlp.bias": (2 * DIM,),
        "MLP_user.weight": (DIM, 2 * DIM),
        "MLP_user.bias": (DIM,),
    }
    for encoder in ("v_gcn", "t_gcn", "id_gcn", "v_gcn_n1", "v_gcn_n2", "t_gcn_n1", "t_gcn_n2"):
        shapes[f"{encoder}.preference"] = (USERS, DIM)
        shapes[f"{encoder}.MLP.weight"] = (4 * DIM, CHANNELS[encoder.split("_")[0]])
        shapes[f"{encoder}.MLP.bias"] = (4 * DIM,)
        shapes[f"{encoder}.MLP_1.weight"] = (DIM, 4 * DIM)
        shapes[f"{encoder}.MLP_1.bias"] = (DIM,)
    return {name: torch.rand(shape) for name, shape in shapes.items()}


def test_every_parameter_is_taken(data: HeteroData, state_dict: dict[str, Tensor]) -> None:
    model = MENTOR.from_released_state_dict(state_dict, data)
    unused = {name for name in state_dict if name.startswith(("weight_i", "MLP_user."))}
    taken = {value.sum().item() for name, value in state_dict.items() if name not in unused}
    assert {parameter.sum().item() for parameter in model.parameters()} == taken
    assert len(taken) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("id_feat", "item_embedding"),
        ("mlp.weight", "masking.predictor.weight"),
        ("v_gcn.preference", "encoders.visual.user_preference"),
        ("t_gcn.MLP.weight", "encoders.textual.hidden.weight"),
        ("id_gcn.MLP_1.bias", "encoders.id.output.bias"),
        ("v_gcn_n1.MLP.bias", "perturbed_encoders.view_a.visual.hidden.bias"),
        ("t_gcn_n2.MLP_1.weight", "perturbed_encoders.view_b.textual.output.weight"),
    ],
)
def test_names(theirs: str, ours: str, data: HeteroData, state_dict: dict[str, Tensor]) -> None:
    model = MENTOR.from_released_state_dict(state_dict, data)
    assert torch.equal(model.state_dict()[ours], state_dict[theirs])


def test_modality_weights_lose_their_last_dimension(
    data: HeteroData, state_dict: dict[str, Tensor]
) -> None:
    model = MENTOR.from_released_state_dict(state_dict, data)
    assert torch.equal(model.fusion.user_modality_weight(), state_dict["weight_u"][..., 0])


@pytest.mark.parametrize("kind", ["parameters", "arrays", "float64 arrays"])
def test_kinds_of_input(kind: str, data: HeteroData, state_dict: dict[str, Tensor]) -> None:
    given: dict[str, Any] = {
        "parameters": {k: torch.nn.Parameter(v) for k, v in state_dict.items()},
        "arrays": {k: v.numpy() for k, v in state_dict.items()},
        "float64 arrays": {k: v.numpy().astype(np.float64) for k, v in state_dict.items()},
    }[kind]
    model = MENTOR.from_released_state_dict(given, data)
    expected = MENTOR.from_released_state_dict(state_dict, data).state_dict()
    for name, value in model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[name])


def test_the_input_is_copied(data: HeteroData, state_dict: dict[str, Tensor]) -> None:
    model = MENTOR.from_released_state_dict(state_dict, data)
    before = {name: value.clone() for name, value in state_dict.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert all(torch.equal(state_dict[name], value) for name, value in before.items())


def test_config_defaults_to_released(data: HeteroData, state_dict: dict[str, Tensor]) -> None:
    assert MENTOR.from_released_state_dict(state_dict, data).config.semantics == "released"


def test_without_id_guidance(data: HeteroData, state_dict: dict[str, Tensor]) -> None:
    config = MENTORConfig(semantics="released", id_guidance=False)
    rest = {name: value for name, value in state_dict.items() if not name.startswith("id_")}
    model = MENTOR.from_released_state_dict(rest, data, config)
    assert "id" not in model.encode(data).views


def test_refuses_paper_semantics(data: HeteroData, state_dict: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"needs semantics='released' .* \(got 'paper'\)"):
        MENTOR.from_released_state_dict(state_dict, data, MENTORConfig())


@pytest.mark.parametrize("name", ["weight_u", "id_feat", "t_gcn_n2.MLP_1.bias", "mlp.weight"])
def test_refuses_missing_name(name: str, data: HeteroData, state_dict: dict[str, Tensor]) -> None:
    del state_dict[name]
    with pytest.raises(ValueError, match=f"'state_dict' lacks '{name}', the released name of"):
        MENTOR.from_released_state_dict(state_dict, data)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("weight_u", (USERS, 3, 1)),
        ("id_feat", (ITEMS + 1, DIM)),
        ("v_gcn.MLP.weight", (4 * DIM, 25)),
        ("mlp.bias", (DIM,)),
    ],
)
def test_refuses_shape(
    name: str, shape: tuple[int, ...], data: HeteroData, state_dict: dict[str, Tensor]
) -> None:
    state_dict[name] = torch.zeros(shape)
    with pytest.raises(ValueError, match=rf"'{name}' needs shape \[.*\] for this data \(got \["):
        MENTOR.from_released_state_dict(state_dict, data)


def test_refuses_other_width(data: HeteroData, state_dict: dict[str, Tensor]) -> None:
    config = MENTORConfig(semantics="released", embedding_dim=32)
    with pytest.raises(ValueError, match=r"'id_feat' needs shape \[80, 32\] .* \(got \[80, 64\]"):
        MENTOR.from_released_state_dict(state_dict, data, config)


@pytest.mark.parametrize(
    "modalities", [("textual",), ("textual", "acoustic"), ("visual", "textual", "acoustic")]
)
def test_refuses_other_modalities(
    modalities: tuple[str, ...], state_dict: dict[str, Tensor]
) -> None:
    data = SyntheticMultimodal("tiny", modalities=modalities)[0]
    with pytest.raises(ValueError, match=r"needs shape|no parameters for .*visual and textual"):
        MENTOR.from_released_state_dict(state_dict, data)
