"""What all model configs share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, get_origin, get_type_hints

__all__ = ["ModelConfig", "check_at_least_zero"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Keyword-only settings that travel to JSON and back."""

    embedding_dim: int = 64
    """Width of a view."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            _check_type(field.name, getattr(self, field.name), hints[field.name])
        if self.embedding_dim < 1:
            raise ValueError(f"'embedding_dim' needs to be at least 1 (got {self.embedding_dim})")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a config from plain values.

        Raises:
            ValueError: If a key is not a setting of this config (the message lists those that
                are), or a value is not of the setting's type or range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(set(values).difference(known)):
            raise ValueError(f"{cls.__name__} has no settings {unknown}; it has {known}")
        return cls(**values)


def _check_type(name: str, value: object, hint: Any) -> None:
    """Raise where a value is not of a setting's type."""
    accepted: dict[Any, tuple[type, ...]] = {
        int: (int,),
        float: (int, float),
        bool: (bool,),
        tuple: (list, tuple),
    }
    kind = get_origin(hint) or hint
    types = accepted.get(kind, (str,))  # The rest are names.
    if not isinstance(value, types) or (isinstance(value, bool) and kind is not bool):
        wanted = "list" if kind is tuple else "str" if types == (str,) else kind.__name__
        raise ValueError(f"'{name}' needs to be of type {wanted} (got {value!r})")


def check_at_least_zero(config: ModelConfig, *names: str) -> None:
    """Raise for the first of the named settings that is negative, infinite or not a number."""
    for name in names:
        value = getattr(config, name)
        if not value >= 0:
            raise ValueError(f"'{name}' needs to be at least 0 (got {value})")
        if math.isinf(value):
            raise ValueError(f"'{name}' needs to be finite (got {value})")
