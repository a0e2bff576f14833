"""Reading YAML without losing anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mentor_pyg.dependencies import require

__all__ = ["read_yaml"]


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds; unlike PyYAML, refuse a key that a mapping has twice.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no YAML, or a key is given twice.
    """
    yaml: Any = require("yaml", extra="train", purpose="A YAML file")

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            found = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in found:
                        line = key.start_mark.line + 1
                        raise ValueError(
                            f"{path} has '{key.value}' twice in one mapping, again in line {line}; "
                            f"leave one of them out, or give it another name"
                        )
                    found.add(key.value)
            return node

    try:
        return yaml.load(path.read_bytes(), Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML file: {error}") from error
