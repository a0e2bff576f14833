import json
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, Sizes
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.models import (
    BPRMF,
    MENTOR,
    MODELS,
    ItemKNN,
    LightGCN,
    Popularity,
    load_model,
    save_model,
)


@pytest.fixture
def path(tiny_data: HeteroData, tmp_path: Path) -> Path:
    """A file of a MENTOR of the tiny data."""
    save_model(MENTOR.from_data(tiny_data), tmp_path / "model.safetensors", tiny_data)
    return tmp_path / "model.safetensors"


def rewritten(path: Path, **metadata: str) -> None:
    with safetensors.safe_open(path, framework="pt") as file:
        before = file.metadata()
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, {**before, **metadata})


def test_save_refuses_classes_without_a_name(tiny_data: HeteroData, tmp_path: Path) -> None:
    class Variant(MENTOR):
        pass

    with pytest.raises(ValueError, match=r"of a registered class .* \(got Variant\); .*register"):
        save_model(Variant.from_data(tiny_data), tmp_path / "model.safetensors")


def test_load_refuses_other_files(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"no such thing")
    with pytest.raises(ValueError, match=r"model.safetensors is not a whole safetensors file"):
        load_model(path)
    safetensors.torch.save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="does not say what model it holds"):
        load_model(path)
    for other in (tmp_path / "absent.safetensors", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"{other} is no file"):
            load_model(other)


@pytest.mark.parametrize("modalities", [("visual",), ("visual", "acoustic")])
def test_load_refuses_data_of_other_sizes(modalities: tuple[str, ...], path: Path) -> None:
    other = SyntheticMultimodal("tiny", modalities=modalities)[0]
    with pytest.raises(ValueError, match=rf"{path}: 'data' has features of the widths"):
        load_model(path, other)


def test_load_refuses_other_data_of_the_same_sizes(path: Path, tiny_data: HeteroData) -> None:
    other = SyntheticMultimodal("tiny", seed=1)[0]
    with pytest.raises(ValueError, match=r"a model of other data than 'data' .*without 'data'"):
        load_model(path, other)
    assert load_model(path).encode(other).item["fused"].isfinite().all()
    # What a model's transform puts beside the facts does not matter; the facts do.
    load_model(path, MENTOR.transform(MENTOR.Config())(tiny_data))
    changed = tiny_data.clone()
    changed[INTERACTS].test_edge_label_index = changed[INTERACTS].test_edge_label_index[:, 1:]
    with pytest.raises(ValueError, match="a model of other data"):
        load_model(path, changed)


def test_without_data_nothing_is_checked(tiny_data: HeteroData, tmp_path: Path) -> None:
    save_model(BPRMF.from_data(tiny_data), tmp_path / "m.safetensors")
    load_model(tmp_path / "m.safetensors", SyntheticMultimodal("tiny", seed=1)[0])


def test_load_names_the_class_to_import(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(MODELS, "mentor")
    message = r"a model 'mentor' of the class mentor_pyg.models.mentor.model:MENTOR, .*import the"
    with pytest.raises(ValueError, match=message):
        load_model(path)


def test_load_names_what_changed_since(path: Path) -> None:
    rewritten(path, config=json.dumps({"embedding_dim": 8, "depth": 3}), version="9.1")
    message = rf"{path} holds a model 'mentor' that this version cannot build: .*'depth'.* 9.1"
    with pytest.raises(ValueError, match=message):
        load_model(path)
    rewritten(path, config=json.dumps({"embedding_dim": 8}))
    with pytest.raises(ValueError, match=r"other parameters than its model has, .*item_embedding"):
        load_model(path)


@pytest.mark.parametrize(
    ("model_class", "name", "change"),
    [
        (Popularity, "count", lambda x: x[1:]),
        (ItemKNN, "nearest_start", lambda x: x[1:]),
        (ItemKNN, "nearest_value", lambda x: x[:, None]),
        (ItemKNN, "nearest_column", None),
    ],
)
def test_load_refuses_fitted_models_of_other_sizes(
    model_class: Any, name: str, change: Any, tiny_data: HeteroData, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_model(model_class.from_data(tiny_data).fit(tiny_data), path)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state = safetensors.torch.load_file(path)
    tensor = state.pop(name)
    if change is not None:
        state[name] = change(tensor).contiguous()
    safetensors.torch.save_file(state, path, metadata)
    with pytest.raises(ValueError, match=rf"other parameters than its model has, \['{name}'\]"):
        load_model(path)


def test_the_type_of_parameters_comes_back(tiny_data: HeteroData, tmp_path: Path) -> None:
    model = LightGCN.from_data(tiny_data).double()
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors", tiny_data)
    torch.testing.assert_close(dict(loaded.state_dict()), dict(model.state_dict()), rtol=0, atol=0)


def test_what_was_fitted_is_copied_and_of_its_size(tiny_data: HeteroData) -> None:
    first = Popularity.from_data(tiny_data).fit(tiny_data)
    second = Popularity.from_data(tiny_data)
    second.load_state_dict(first.state_dict())
    second.count.zero_()
    assert first.count.sum() > 0
    with pytest.raises(RuntimeError, match=r"needs 'count' of shape \[80\] \(got \[5\]\)"):
        second.load_state_dict({"count": torch.ones(5)})


class Complex(LightGCN):
    name = "complex"

    def __init__(self, sizes: Sizes, config: Any = None) -> None:
        super().__init__(sizes, config)
        self.phase = torch.nn.Parameter(torch.randn(3, dtype=torch.complex64))


def test_types_are_those_of_every_parameter_itself(
    tiny_data: HeteroData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "complex", Complex)
    model = Complex.from_data(tiny_data)
    model.item_embedding.data = model.item_embedding.data.double()
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
        assert loaded.state_dict()[name].dtype == tensor.dtype
