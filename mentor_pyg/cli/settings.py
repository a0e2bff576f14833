"""The settings of a config class, as people read them."""

from __future__ import annotations

import dataclasses
import enum
import json
import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from mentor_pyg.config import Config, Range
from mentor_pyg.dependencies import require

__all__ = ["Setting", "described", "plain_text", "settings_of"]


class Setting(NamedTuple):
    """A setting.

    Args:
        name: Its name.
        type: Its type; enumerations are literals of their values.
        default: Its default, as JSON has it.
        doc: What the config class says about it.
    """

    name: str
    type: Any
    default: Any
    doc: str

    def completer(self, **_: Any) -> list[str]:
        """Return the values that a shell may complete."""
        literals = map(str, get_args(self.type)) if get_origin(self.type) is Literal else ()
        return ["true", "false"] if self.type is bool else [*literals]


def settings_of(config: type[Config]) -> list[Setting]:
    """Return the settings of a config class, in their order."""
    parser = require("docstring_parser", extra="train", purpose="Listing settings")
    hints = get_type_hints(config, include_extras=True)
    docs: dict[str, str] = {}
    for base in reversed(config.__mro__):
        if base is not Config and issubclass(base, Config):
            docs |= {p.arg_name: p.description or "" for p in parser.parse_from_object(base).params}
    defaults = json.loads(json.dumps(config().to_dict()))
    return [
        Setting(name, _literal(hints[name]), defaults[name], plain_text(docs.get(name, "")))
        for name in (field.name for field in dataclasses.fields(config))
    ]


def described(hint: Any) -> str:
    """Return a type in words, such as ``"int, at least 1"``."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return ", ".join([described(args[0]), *(str(a) for a in args[1:] if isinstance(a, Range))])
    if origin is Literal:
        return " | ".join(map(str, args))
    if origin in (Union, types.UnionType):
        return " | ".join(map(described, args))
    if origin is tuple:
        return f"list of ({described(args[0])})"
    if origin is not None and issubclass(origin, Mapping):
        return f"mapping of {described(args[0])} to ({described(args[1])})"
    return "none" if hint is type(None) else str(getattr(hint, "__name__", hint))


def plain_text(doc: str) -> str:
    """Return a docstring's text on one line, without the marks of reStructuredText."""
    doc = re.sub(r":\w+:`~?(?:[\w.]+\.)?([^`]+)`", r"\1", doc)
    return " ".join(doc.replace("``", "").split())


def _literal(hint: Any) -> Any:
    """Return a type with the values of enumerations, which JSON has, in place of their members."""
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return Literal[tuple(member.value for member in hint)]
    if get_origin(hint) is tuple:
        return types.GenericAlias(tuple, (_literal(get_args(hint)[0]), ...))
    return hint
