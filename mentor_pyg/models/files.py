"""Models to safetensors files and back; nothing is unpickled."""

from __future__ import annotations

import json
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import Sizes, fingerprint
from mentor_pyg.models.model import Model, fits_shape
from mentor_pyg.models.registry import MODELS, class_path
from mentor_pyg.tensor_files import save_tensors
from mentor_pyg.version import __version__

__all__ = ["load_model", "save_model"]


def save_model(model: Model, path: str | Path, data: HeteroData | None = None) -> None:
    """Write a model to a safetensors file: parameters, name, config, and what it was built for.

    Args:
        model: The model.
        path: The file; it is replaced whole.
        data: The dataset that the model was trained on. Its checksum goes into the file, so that
            the model is not taken for one of other data of the same sizes.

    Raises:
        ValueError: If the model's class is not registered, or the model is not fitted.
    """
    cls = type(model)
    if MODELS.get(getattr(cls, "name", "")) is not cls:
        raise ValueError(
            f"'model' needs to be of a registered class to be saved by name (got {cls.__name__}); "
            f"give the class a 'name' and decorate it with mentor_pyg.models.register"
        )
    state = model.state_dict()
    if state.keys() != model.state_shapes().keys():
        raise ValueError("'model' needs to be fitted to be saved; call model.fit(data) first")
    metadata = {
        "model": cls.name,
        "class": class_path(cls),
        "config": json.dumps(model.config.to_dict()),
        "sizes": json.dumps(model.sizes.to_dict()),
        "data": "" if data is None else fingerprint(data),
        "version": __version__,
    }
    save_tensors(state, Path(path), metadata)


def load_model(path: str | Path, data: HeteroData | None = None) -> Model:
    """Build the model that :func:`save_model` wrote, in evaluation mode, on the CPU.

    Args:
        path: The file.
        data: The dataset that the model was trained on, to check that it is; not needed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not such a file, its model is not registered here, or ``data``
            is other data than it was trained on.
    """
    metadata, state = _read(Path(path))
    name = metadata["model"]
    if name not in MODELS:
        raise ValueError(
            f"{path} holds a model '{name}' of the class {metadata['class']}, which is not "
            f"registered; import the module that registers it first"
        )
    cls = MODELS[name]
    try:
        config = cls.Config.from_dict(json.loads(metadata["config"]))
        model = cls(Sizes(**json.loads(metadata["sizes"])), config)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} holds a model '{name}' that this version cannot build: {error}; it was "
            f"written by version {metadata['version']}"
        ) from error
    _fill(model, state, Path(path))
    if data is not None:
        _check_data(model, data, metadata["data"], Path(path))
    return model.eval()


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; give the model.safetensors of a run")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
        state = safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error})") from error
    wanted = ("model", "class", "config", "sizes", "data", "version")
    if not set(wanted) <= set(metadata):
        raise ValueError(f"{path} does not say what model it holds; write it with save_model")
    return metadata, state


def _fill(model: Model, state: dict[str, Tensor], path: Path) -> None:
    expected = model.state_shapes()
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    names = found.keys() | expected.keys()
    if differing := [n for n in names if not fits_shape(found.get(n), expected.get(n))]:
        raise ValueError(
            f"{path} holds other parameters than its model has, {sorted(differing)}; the class "
            f"{class_path(type(model))} has changed since it was written"
        )
    for name, held in model.state_dict(keep_vars=True).items():
        held.data = held.data.to(state[name].dtype)
    model.load_state_dict(state)


def _check_data(model: Model, data: HeteroData, checksum: str, path: Path) -> None:
    try:
        model.check_fits(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if checksum and checksum != fingerprint(data):
        raise ValueError(
            f"{path} holds a model of other data than 'data' (their checksums differ); load it "
            f"with the dataset it was trained on, or without 'data' to use it all the same"
        )
