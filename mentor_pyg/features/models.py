"""What the encoders share."""

from __future__ import annotations

from torch import nn

from mentor_pyg.files import checksum

__all__ = ["state_sha256"]


def state_sha256(model: nn.Module) -> str:
    """Return a checksum of a model's parameters and buffers."""
    return checksum({name: tensor.detach().cpu() for name, tensor in model.state_dict().items()})
