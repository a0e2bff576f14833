"""Devices by name, and how exactly they multiply."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

__all__ = ["check_is_device", "float32_products", "resolve_device"]


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


def check_is_device(device: object) -> None:
    """Raise a ``TypeError`` for what is no device, such as the type that tensors' ``to`` takes."""
    if not isinstance(device, torch.device | str | int):
        raise TypeError(f"'device' needs to be a device or its name (got {device!r})")


def float32_products(device: str, precision: str = "ieee") -> AbstractContextManager[None]:
    """Have the factors of float32 products rounded so, whatever torch is set to elsewhere.

    Args:
        device: The kind of device, ``"cuda"`` or ``"cpu"``.
        precision: ``"ieee"``, for factors as they are, ``"tf32"`` or ``"bf16"``.
    """
    if precision == "ieee" and torch.compiler.is_compiling():
        return nullcontext()  # Setting breaks the graph. Compiled, torch's setting holds.
    return _set_products(device, precision)


@contextmanager
def _set_products(device: str, precision: str) -> Iterator[None]:
    """Set what the whole process rounds factors to; put it back at the end."""
    backend = torch.backends.cuda if device == "cuda" else torch.backends.mkldnn
    products: Any = backend.matmul
    before = products.fp32_precision
    if before == precision or (precision == "ieee" and before == "none"):
        yield
        return
    products.fp32_precision = precision
    try:
        yield
    finally:
        products.fp32_precision = "none"  # Inherited again, unless that is something else.
        if products.fp32_precision != before:
            products.fp32_precision = before
