"""The YAML files of settings that the package ships, per model and dataset."""

from __future__ import annotations

from pathlib import Path

__all__ = ["config_file", "config_names"]

_FOLDER = Path(__file__).parents[1] / "configs"


def config_names() -> list[str]:
    """Return the names of the shipped files, such as ``"lightgcn-baby"``."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def config_file(name: str) -> Path:
    """Return a file by its path, or a shipped one by its name.

    Raises:
        FileNotFoundError: If it is neither.
    """
    if Path(name).is_file():
        return Path(name)
    if name in config_names():
        return _FOLDER / f"{name}.yaml"
    raise FileNotFoundError(
        f"'config' needs to be a YAML file, or one of the shipped {config_names()} (got {name!r})"
    )
