"""Every probe for an optional dependency, in one place."""

import importlib
import importlib.util
from functools import cache
from types import ModuleType

__all__ = [
    "MissingPackageError",
    "UnavailableError",
    "can_import",
    "has_package",
    "require",
    "triton_is_interpreted",
]


class UnavailableError(RuntimeError):
    """What was asked for by name cannot run here; the message says why."""


class MissingPackageError(ImportError):
    """A package is not installed; the message says what for, and which extra brings it."""


@cache
def has_package(name: str) -> bool:
    """Return whether the package ``name`` is installed, without importing it."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # It is part of a package that is not.
        return False


@cache
def can_import(module: str) -> bool:
    """Return whether a module is installed *and* imports, with the compiled libraries it loads."""
    if not has_package(module.partition(".")[0]):
        return False
    try:
        importlib.import_module(module)
    except (ImportError, OSError):
        return False
    return True


@cache
def triton_is_interpreted() -> bool:
    """Return whether Triton runs kernels in Python, without a GPU.

    It does where ``TRITON_INTERPRET=1`` is set before it is first imported. Set later, the
    variable turns new kernels into Python, but not those of Triton's own that they call.
    """
    if not can_import("triton.language"):
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
        MissingPackageError: If the package is missing.
    """
    if not has_package(package):
        raise MissingPackageError(
            f"{purpose} needs the package '{package}', which is not installed; it comes with the "
            f"extra '{extra}': pip install '.[{extra}]' in a checkout of mentor_pyg, or install "
            f"'{package}' by itself"
        )
    return importlib.import_module(package)
