"""Every probe for an optional dependency, in one place."""

import importlib
import importlib.util
from functools import cache
from types import ModuleType

__all__ = [
    "UnavailableError",
    "has_package",
    "has_torch_scatter",
    "has_triton",
    "require",
    "triton_is_interpreted",
]


class UnavailableError(RuntimeError):
    """What was asked for by name cannot run here; the message says why."""


@cache
def has_package(name: str) -> bool:
    """Return whether the package ``name`` is installed, without importing it."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # It is part of a package that is not.
        return False


@cache
def has_torch_scatter() -> bool:
    """Return whether torch-scatter is installed *and* its compiled library loads."""
    if not has_package("torch_scatter"):
        return False
    try:
        importlib.import_module("torch_scatter")
    except (ImportError, OSError):
        return False
    return True


@cache
def has_triton() -> bool:
    """Return whether Triton is installed and can be imported."""
    if not has_package("triton"):
        return False
    try:
        importlib.import_module("triton.language")
    except (ImportError, OSError):
        return False
    return True


@cache
def triton_is_interpreted() -> bool:
    """Return whether Triton runs kernels in Python, without a GPU.

    It does where ``TRITON_INTERPRET=1`` is set before it is first imported. Set later, the
    variable turns new kernels into Python, but not those of Triton's own that they call.
    """
    if not has_triton():
        return False
    triton = importlib.import_module("triton")
    return bool(triton.knobs.runtime.interpret) and not isinstance(
        triton.language.sum, triton.JITFunction
    )


def require(package: str, *, extra: str, purpose: str) -> ModuleType:
    """Import ``package`` or say which extra brings it.

    Args:
        package: The importable name, *e.g.* ``"lightning"``.
        extra: The extra of this distribution that installs it, *e.g.* ``"train"``.
        purpose: What it is needed for, as the start of a sentence, *e.g.* ``"Training"``.

    Returns:
        The imported module.

    Raises:
        ImportError: If the package is missing.
    """
    if not has_package(package):
        raise ImportError(
            f"{purpose} needs the package '{package}', which is not installed; it comes with the "
            f"extra '{extra}': pip install '.[{extra}]' in a checkout of mentor_pyg, or install "
            f"'{package}' by itself"
        )
    return importlib.import_module(package)
