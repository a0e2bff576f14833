"""The models by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from torch_geometric.data import HeteroData

from mentor_pyg.config import Config
from mentor_pyg.models.base import ModelConfig, Recommender
from mentor_pyg.models.model import Model

__all__ = ["MODELS", "build_model", "find_model", "register"]

MODELS: dict[str, type[Model]] = {}
"""The registered models by name."""

_Model = TypeVar("_Model", bound=type[Model])


def register(model: _Model) -> _Model:
    """Add a model class, so that its name can be trained and its files can be loaded.

    For use as a decorator, from this library or from outside. A class that is defined again, as
    a notebook does, takes the place of its earlier self.

    Raises:
        TypeError: If it is no :class:`Model` class, as :class:`Recommender` is.
        ValueError: If it has no name or config of its own, or another class has the name.
    """
    if not (isinstance(model, type) and issubclass(model, Model)):
        raise TypeError(
            f"'model' needs to be a subclass of Recommender or FittedModel (got {model!r})"
        )
    name, config = vars(model).get("name"), getattr(model, "Config", None)
    if not isinstance(name, str) or not name:
        raise ValueError(f"{model.__name__} needs a 'name' of its own to be registered")
    base = ModelConfig if issubclass(model, Recommender) else Config
    if not (isinstance(config, type) and issubclass(config, base)):
        raise ValueError(
            f"{model.__name__}.Config needs to be a {base.__name__} class (got {config})"
        )
    other = MODELS.get(name, model)
    if class_path(other) != class_path(model):
        raise ValueError(
            f"the name {name!r} belongs to {class_path(other)}; give {model.__name__} another one"
        )
    MODELS[name] = model
    return model


def class_path(model: type[Model]) -> str:
    """Return where a class is defined, as ``module:name``."""
    return f"{model.__module__}:{model.__qualname__}"


def find_model(name: str) -> type[Model]:
    """Return the model class of a name.

    Raises:
        ValueError: If the name is unknown; the message lists the known ones.
    """
    if name not in MODELS:
        raise ValueError(f"'model' needs to be one of {sorted(MODELS)} (got {name!r})")
    return MODELS[name]


def build_model(
    model: str | type[Model], data: HeteroData, settings: Mapping[str, Any] | Config | None = None
) -> Model:
    """Build a model with nothing learned yet from its name or class, and its settings or config.

    Raises:
        ValueError: If the name or a setting is unknown; the message lists the known ones.
    """
    cls = find_model(model) if isinstance(model, str) else model
    return cls.from_data(data, cls.Config.from_dict(settings or {}))
