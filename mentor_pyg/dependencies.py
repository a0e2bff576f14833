"""Every probe for an optional dependency, in one place."""

import importlib
import importlib.util
from functools import cache
from types import ModuleType

__all__ = ["has_package", "has_torch_scatter", "require"]


@cache
def has_package(name: str) -> bool:
    """Return whether the package ``name`` is installed, without importing it."""
    return importlib.util.find_spec(name) is not None


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
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'mentor_pyg[{extra}]'"
        )
    return importlib.import_module(package)
