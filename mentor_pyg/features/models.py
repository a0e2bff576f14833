"""What the encoders share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mentor_pyg.tensor_files import checksum

__all__ = ["load_pretrained", "load_whole", "state_sha256"]

_UNUSED = re.compile(r"pooler|masked_spec_embed")
"""Weights that have no part in the last states of a model."""


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


def load_whole(kind: Any, model: str, device: torch.device) -> Any:
    """Load a model by its class in transformers, with all weights that its last states are of.

    It is in evaluation mode, on the device.

    Raises:
        ValueError: If it cannot be loaded, or lacks weights, which would be drawn at random.
    """
    found, info = load_pretrained(kind.from_pretrained, model, output_loading_info=True)
    if lacking := [name for name in info["missing_keys"] if not _UNUSED.search(name)]:
        raise ValueError(
            f"'model' {model!r} lacks weights, {sorted(lacking)[0]} among them; give a model whose "
            f"encoder is whole"
        )
    return found.eval().to(device)


def state_sha256(model: nn.Module) -> str:
    """Return a checksum of a model's parameters and buffers."""
    return checksum({name: tensor.detach().cpu() for name, tensor in model.state_dict().items()})
