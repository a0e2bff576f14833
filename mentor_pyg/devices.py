"""Devices by name."""

from __future__ import annotations

import torch

__all__ = ["resolve_device"]


def resolve_device(name: str) -> torch.device:
    """Return the device that a name means: ``auto``, ``cpu``, ``cuda`` or ``cuda:<index>``.

    Raises:
        ValueError: If the name is unknown, or CUDA is asked for and not to be had.
    """
    kind, _, index = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (index and (kind != "cuda" or not index.isdigit())):
        raise ValueError(
            f"'device' needs to be 'auto', 'cpu', 'cuda' or 'cuda:<index>' (got {name!r})"
        )
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cpu" or (kind == "auto" and not found):
        return torch.device("cpu")
    if int(index or 0) >= found:
        raise ValueError(
            f"'device' is {name!r}, but torch finds {found} CUDA devices; use "
            f"{'a lower index' if found else repr('cpu')}"
        )
    return torch.device("cuda", int(index or 0))
