from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import pytest

from mentor_pyg.cli.settings import described, plain_text, settings_of
from mentor_pyg.config import AtLeastOne, Config, Share
from mentor_pyg.models import MODELS


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Base(Config):
    width: AtLeastOne = 3
    """How wide."""
    plain: bool = True


@dataclass(frozen=True, kw_only=True)
class Derived(Base):
    colours: tuple[Colour, ...] = (Colour.RED,)
    """Which ``colours``, as :class:`~x.y.Colour` has
    them."""
    width: AtLeastOne = 4
    """How wide it is here."""


def test_settings_of_a_class_and_its_bases() -> None:
    width, plain, colours = settings_of(Derived)
    assert (width.name, width.default, width.doc) == ("width", 4, "How wide it is here.")
    assert (plain.default, plain.doc, plain.completer()) == (True, "", ["true", "false"])
    assert (colours.default, colours.doc) == (["red"], "Which colours, as Colour has them.")
    assert colours.type == tuple[Literal["red", "blue"], ...]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_setting_of_every_model_says_what_it_is(name: str) -> None:
    assert [s.name for s in settings_of(MODELS[name].Config) if not s.doc] == []


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "int"),
        (Share, "float, in [0, 1)"),
        (Literal["a", "b"], "a | b"),
        (AtLeastOne | None, "int, at least 1 | none"),
        (tuple[Share, ...], "list of (float, in [0, 1))"),
        (Mapping[str, AtLeastOne], "mapping of str to (int, at least 1)"),
    ],
)
def test_types_in_words(hint: Any, words: str) -> None:
    assert described(hint) == words


def test_plain_text() -> None:
    text = 'As :func:`mentor_pyg.ops.propagate` or :class:`~x.Y`,\n    ``"a"``.'
    assert plain_text(text) == 'As propagate or Y, "a".'
