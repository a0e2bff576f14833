"""Models to safetensors files and back; nothing is unpickled."""

from __future__ import annotations

import json
from pathlib import Path

import safetensors
import safetensors.torch
from torch_geometric.data import HeteroData

from mentor_pyg.models.base import Recommender
from mentor_pyg.models.bprmf import BPRMF, BPRMFConfig
from mentor_pyg.models.config import ModelConfig
from mentor_pyg.models.lightgcn import LightGCN, LightGCNConfig
from mentor_pyg.models.mentor import MENTOR
from mentor_pyg.models.mentor_config import MENTORConfig

__all__ = ["MODELS", "build_model", "load_model", "save_model"]

MODELS: dict[str, tuple[type[Recommender], type[ModelConfig]]] = {
    "mentor": (MENTOR, MENTORConfig),
    "lightgcn": (LightGCN, LightGCNConfig),
    "bprmf": (BPRMF, BPRMFConfig),
}
"""The models by name, each with its config."""


def build_model(name: str, data: HeteroData, settings: dict[str, object]) -> Recommender:
    """Build a model with fresh parameters from its name and settings.

    Raises:
        ValueError: If the name or a setting is unknown; the message lists the known ones.
    """
    if name not in MODELS:
        raise ValueError(f"'model' needs to be one of {list(MODELS)} (got {name!r})")
    model_cls, config_cls = MODELS[name]
    return model_cls.from_data(data, config_cls.from_dict(settings))


def save_model(model: Recommender, path: str | Path) -> None:
    """Write a model's parameters, name and config to a safetensors file.

    Raises:
        ValueError: If the model is of a class that is not in :data:`MODELS`.
    """
    names = [name for name, (cls, _) in MODELS.items() if type(model) is cls]
    if not names:
        raise ValueError(
            f"'model' needs to be of a class in MODELS to be saved by name "
            f"(got {type(model).__name__})"
        )
    metadata = {"model": names[0], "config": json.dumps(model.config.to_dict())}
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    safetensors.torch.save_file(tensors, path, metadata=metadata)


def load_model(path: str | Path, data: HeteroData) -> Recommender:
    """Build the model that :func:`save_model` wrote, for the dataset that it was trained on.

    Raises:
        ValueError: If the file is not such a file, or was trained on data of another size
            or with other modalities.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        state = safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error})") from error
    if not {"model", "config"} <= set(metadata):
        raise ValueError(f"{path} does not say what model it holds; write it with save_model")
    try:
        model = build_model(metadata["model"], data, json.loads(metadata["config"]))
    except ValueError as error:
        raise ValueError(f"{path} does not hold a model that can be built: {error}") from error
    expected = model.state_dict()
    if differing := sorted(set(state) ^ set(expected)):
        raise ValueError(
            f"{path} and a model of 'data' do not both have {differing}; "
            f"load it with the dataset it was trained on"
        )
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(
                f"{path} holds '{name}' of shape {list(tensor.shape)}, but 'data' needs "
                f"{list(expected[name].shape)}; load it with the dataset it was trained on"
            )
    model.load_state_dict(state)
    return model
