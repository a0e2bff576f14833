"""Where a result was made."""

from __future__ import annotations

import platform

import torch

from mentor_pyg.version import __version__

__all__ = ["describe_environment"]


def describe_environment(device: torch.device) -> dict[str, str | int]:
    """Return the versions, device and threads that a result may depend on, as plain values."""
    return {
        "device": str(device),
        "version": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
