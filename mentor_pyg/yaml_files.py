"""Reading YAML without losing anything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mentor_pyg.dependencies import require

__all__ = ["read_yaml"]

_FLOAT = "tag:yaml.org,2002:float"
_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Unlike PyYAML, refuse a key that a mapping has twice, and take 1e-3 for the number that it is.

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
                    if key.tag == _FLOAT and _EXPONENT.match(key.value):
                        key.tag = "tag:yaml.org,2002:str"  # It is a name.
                    if key.value in found:
                        line = key.start_mark.line + 1
                        raise ValueError(
                            f"{path} has '{key.value}' twice in one mapping, again in line {line}; "
                            f"leave one of them out, or give it another name"
                        )
                    found.add(key.value)
            return node

    # Of YAML 1.1, which PyYAML reads, 1e-3 without a point would be text.
    Loader.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+0123456789"))
    try:
        return yaml.load(path.read_bytes(), Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML file: {error}") from error
