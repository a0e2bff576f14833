from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.models import MENTOR, MODELS, build_model, load_model, save_model

SETTINGS = {
    "mentor": {"semantics": "released", "align_levels": ("id_fused",), "embedding_dim": 6},
    "lightgcn": {"num_layers": 1, "embedding_dim": 6},
    "bprmf": {"embedding_dim": 6},
}


@pytest.fixture(scope="module")
def data() -> HeteroData:
    return SyntheticMultimodal("tiny")[0]


def test_every_model_is_tested() -> None:
    assert set(SETTINGS) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_build(name: str, data: HeteroData) -> None:
    model = build_model(name, data, SETTINGS[name])
    model_class, config_class = MODELS[name]
    assert type(model) is model_class
    assert model.config == config_class.from_dict(SETTINGS[name])


def test_build_refuses_unknown_names(data: HeteroData) -> None:
    message = r"'model' needs to be one of \['mentor', 'lightgcn', 'bprmf'\] \(got 'vbpr'\)"
    with pytest.raises(ValueError, match=message):
        build_model("vbpr", data, {})
    with pytest.raises(ValueError, match=r"BPRMFConfig has no settings \['num_layers'\]"):
        build_model("bprmf", data, {"num_layers": 2})


@pytest.mark.parametrize("name", MODELS)
def test_save_and_load(name: str, data: HeteroData, tmp_path: Path) -> None:
    model = build_model(name, data, SETTINGS[name])
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    again = load_model(path, data)
    assert type(again) is type(model)
    assert again.config == model.config
    expected = model.state_dict()
    assert again.state_dict().keys() == expected.keys()
    assert all(torch.equal(v, expected[key]) for key, v in again.state_dict().items())


def test_save_refuses_classes_without_a_name(data: HeteroData, tmp_path: Path) -> None:
    class Variant(MENTOR):
        pass

    with pytest.raises(ValueError, match=r"a class in MODELS .* \(got Variant\)"):
        save_model(Variant.from_data(data), tmp_path / "model.safetensors")


def test_load_refuses_other_files(data: HeteroData, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"no such thing")
    with pytest.raises(ValueError, match=r"model.safetensors is not a whole safetensors file"):
        load_model(path, data)
    safetensors.torch.save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="does not say what model it holds"):
        load_model(path, data)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "absent.safetensors", data)


@pytest.mark.parametrize(
    "modalities", [("visual",), ("visual", "acoustic"), ("acoustic", "tabular")]
)
def test_load_refuses_other_data(
    modalities: tuple[str, ...], data: HeteroData, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_model(MENTOR.from_data(data), path)
    with pytest.raises(ValueError, match="load it with the dataset it was trained on"):
        load_model(path, SyntheticMultimodal("tiny", modalities=modalities)[0])
