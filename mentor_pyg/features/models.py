"""What the encoders share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from mentor_pyg.files import checksum

__all__ = ["load_pretrained", "state_sha256"]


def load_pretrained(load: Callable[..., Any], model: str, **options: Any) -> Any:
    """Load a model, or a part of it, by what its library has for that.

    Raises:
        ValueError: If it cannot be loaded.
    """
    try:
        return load(model, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"'model' {model!r} cannot be loaded: {error}; give a folder that holds one, or a "
            f"name of the Hugging Face Hub where that can be reached"
        ) from error


def state_sha256(model: nn.Module) -> str:
    """Return a checksum of a model's parameters and buffers."""
    return checksum({name: tensor.detach().cpu() for name, tensor in model.state_dict().items()})
