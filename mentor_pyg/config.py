"""Settings: frozen, keyword-only, and checked against their types and ranges when they are made."""

from __future__ import annotations

import dataclasses
import difflib
import enum
import math
import numbers
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin, get_type_hints

__all__ = [
    "AtLeastOne",
    "AtLeastZero",
    "Config",
    "Count",
    "Positive",
    "Range",
    "Seed",
    "Share",
]


@dataclass(frozen=True, kw_only=True)
class Range:
    """Where a number has to lie, as a mark on a setting's type: ``Annotated[float, Range(...)]``.

    Args:
        at_least: The lowest number.
        above: What the number has to exceed.
        below: What it has to stay below.
    """

    at_least: float = -math.inf
    above: float = -math.inf
    below: float = math.inf

    def __contains__(self, value: float) -> bool:
        return value >= self.at_least and self.above < value < self.below

    def __str__(self) -> str:
        if math.isfinite(self.below):
            return f"in [{self.at_least:g}, {self.below:g})"
        return f"above {self.above:g}" if self.above > -math.inf else f"at least {self.at_least:g}"


AtLeastOne = Annotated[int, Range(at_least=1)]
"""A whole number, at least 1."""
Count = Annotated[int, Range(at_least=0)]
"""A whole number, at least 0."""
AtLeastZero = Annotated[float, Range(at_least=0)]
"""A number, at least 0."""
Positive = Annotated[float, Range(above=0)]
"""A number above 0."""
Seed = Annotated[int, Range(at_least=0, below=2**63)]
"""A whole number, at least 0 and below :math:`2^{63}`."""
Share = Annotated[float, Range(at_least=0, below=1)]
"""A part of a whole that is not the whole: at least 0, below 1."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of all settings: a subclass is a frozen, keyword-only dataclass with typed fields.

    A field's type may be a plain type, a ``Literal``, an enumeration, a union, ``tuple[T, ...]``,
    ``Mapping[K, V]``, and any of them ``Annotated`` with a :class:`Range`. What a value can be
    made from without loss is accepted: whole numbers for floats, lists for tuples, names for
    enumerations, NumPy's numbers for Python's.

    Raises:
        ValueError: If a value is of another type or out of range; the message names the setting.
    """

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self), include_extras=True)
        for field in dataclasses.fields(self):
            value = _checked(getattr(self, field.name), hints[field.name], field.name)
            object.__setattr__(self, field.name, value)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, which JSON can hold."""
        return dataclasses.asdict(self)

    def replace(self, **changes: Any) -> Self:
        """Return the same settings with some of them changed, checked again."""
        return dataclasses.replace(self, **changes)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | Self) -> Self:
        """Build a config from plain values; one that is built is returned as it is.

        Raises:
            ValueError: If a key is not a setting of this config (the message lists those that
                are), or a value is not of the setting's type or range; or if ``values`` is no
                mapping.
        """
        if type(values) is cls:  # Models' configs derive from each other.
            return values
        if not isinstance(values, Mapping):
            raise ValueError(f"{cls.__name__} needs a mapping of settings (got {values!r})")
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(map(str, set(values).difference(known))):
            near = difflib.get_close_matches(unknown[0], known, n=1)
            meant = f"; '{unknown[0]}' may be '{near[0]}'" if near else ""
            raise ValueError(f"{cls.__name__} has no settings {unknown}; it has {known}{meant}")
        return cls(**values)


class _OfAnotherTypeError(ValueError):
    """A value is of no type that its setting takes."""


_OTHER = object()
"""Stands for a value of another type than asked for."""


def _checked(value: Any, hint: Any, name: str) -> Any:
    """Return a value as its setting's type holds it, or raise an error that names the setting."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        value = _checked(value, args[0], name)
        for allowed in args[1:]:
            if isinstance(allowed, Range) and value not in allowed:
                raise ValueError(f"'{name}' needs to be {allowed} (got {value})")
        return value
    if origin in (Union, types.UnionType):
        taken = _one_of(value, args, name)
    elif origin is not None:
        taken = _container(value, origin, args, name)
    else:
        taken = _plain(value, hint)
    if taken is _OTHER:
        raise _OfAnotherTypeError(f"'{name}' needs to be {_described(hint)} (got {value!r})")
    if isinstance(taken, float) and not math.isfinite(taken):
        raise ValueError(f"'{name}' needs to be finite (got {taken})")
    return taken


def _one_of(value: Any, hints: tuple[Any, ...], name: str) -> Any:
    """Return a value as the first type of a union that takes it."""
    for hint in hints:
        try:
            return _checked(value, hint, name)
        except _OfAnotherTypeError as error:
            if f"'{name}'" not in str(error):  # It was of the type; an entry was not.
                raise
    return _OTHER


def _container(value: Any, origin: Any, args: tuple[Any, ...], name: str) -> Any:
    """Return a value as a literal, a tuple or a mapping, its entries checked."""
    if origin is Literal:
        return value if value in args and not isinstance(value, bool) else _OTHER
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_checked(v, args[0], f"{name}[{i}]") for i, v in enumerate(value))
    if issubclass(origin, Mapping) and isinstance(value, Mapping):
        return {
            _checked(k, args[0], f"a key of {name}"): _checked(v, args[1], f"{name}[{k!r}]")
            for k, v in value.items()
        }
    return _OTHER


def _plain(value: Any, hint: type) -> Any:
    """Return a value as the plain type or the enumeration asked for."""
    if isinstance(value, bool) or hint is bool:
        return value if type(value) is hint else _OTHER
    if hint is float and isinstance(value, numbers.Real):
        return float(value)
    if hint is int and isinstance(value, numbers.Integral):
        return int(value)
    if issubclass(hint, enum.Enum) and value in [member.value for member in hint]:
        return hint(value)
    return value if isinstance(value, hint) else _OTHER


def _described(hint: Any) -> str:
    """Return a type in words, as the end of "needs to be"."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _described(args[0])
    if origin is Literal:
        return f"one of {list(args)}"
    if origin in (Union, types.UnionType):
        return " or ".join(_described(one).removeprefix("of type ") for one in args)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return f"one of {[member.value for member in hint]}"
    if origin is tuple:
        return "of type list"
    if isinstance(origin, type):
        return "a mapping"
    return "None" if hint is type(None) else f"of type {getattr(hint, '__name__', hint)}"
