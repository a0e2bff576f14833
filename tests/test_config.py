import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from mentor_pyg.config import AtLeastZero, Config, Count, Range, Share


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Settings(Config):
    depth: Count = 2
    lr: Annotated[float, Range(above=0)] = 0.1
    penalty: AtLeastZero = 0.0
    share: Share = 0.5
    name: str = "x"
    flag: bool = False
    mode: Literal["fast", "slow"] = "fast"
    colours: tuple[Colour, ...] = (Colour.RED,)
    k: Count | Mapping[str, Count] = 10
    weights: Mapping[str, AtLeastZero] | None = None


def test_there_and_back() -> None:
    settings = Settings(depth=3, colours=["blue"], k={"a": 1}, weights={"a": 1})
    assert settings.to_dict() == {
        "depth": 3, "lr": 0.1, "penalty": 0.0, "share": 0.5, "name": "x", "flag": False,
        "mode": "fast", "colours": ("blue",), "k": {"a": 1}, "weights": {"a": 1.0},
    }  # fmt: skip
    assert Settings.from_dict(settings.to_dict()) == settings
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert Settings.from_dict({}) == Settings()


def test_values_become_what_the_type_says() -> None:
    settings = Settings(depth=np.int64(3), lr=1, colours=["red", Colour.BLUE], k=np.int32(4))
    assert (type(settings.depth), type(settings.lr), type(settings.k)) == (int, float, int)
    assert settings.colours == (Colour.RED, Colour.BLUE)
    assert all(type(colour) is Colour for colour in settings.colours)
    assert Settings(lr=np.float32(0.5)).lr == 0.5


def test_unknown_keys_are_listed_with_the_known_ones() -> None:
    message = r"Settings has no settings \['a', 'width'\]; it has \['depth', 'lr', 'penalty'"
    with pytest.raises(ValueError, match=message):
        Settings.from_dict({"width": 1, "depth": 3, "a": 2})


def test_replace_checks_again() -> None:
    assert Settings().replace(depth=5) == Settings(depth=5)
    with pytest.raises(ValueError, match="'depth' needs to be at least 0"):
        Settings().replace(depth=-1)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("depth", "2", "of type int (got '2')"),
        ("depth", True, "of type int (got True)"),
        ("depth", 2.0, "of type int (got 2.0)"),
        ("depth", -1, "at least 0 (got -1)"),
        ("depth", None, "of type int (got None)"),
        ("lr", "high", "of type float (got 'high')"),
        ("lr", False, "of type float (got False)"),
        ("lr", 0, "above 0 (got 0.0)"),
        ("lr", math.nan, "finite (got nan)"),
        ("lr", math.inf, "finite (got inf)"),
        ("penalty", -1e-9, "at least 0 (got -1e-09)"),
        ("share", 1, "in [0, 1) (got 1.0)"),
        ("share", -0.5, "in [0, 1) (got -0.5)"),
        ("share", math.nan, "finite (got nan)"),
        ("name", 3, "of type str (got 3)"),
        ("flag", 1, "of type bool (got 1)"),
        ("mode", "quick", "one of ['fast', 'slow'] (got 'quick')"),
        ("mode", 1, "one of ['fast', 'slow'] (got 1)"),
        ("colours", "red", "of type list (got 'red')"),
        ("colours", 3, "of type list (got 3)"),
        ("k", -1, "at least 0 (got -1)"),
        ("k", "ten", "int or a mapping (got 'ten')"),
        ("k", None, "int or a mapping (got None)"),
        ("weights", 0.5, "a mapping or None (got 0.5)"),
    ],
)
def test_refuses(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        Settings(**{name: value})
    assert str(raised.value) == f"'{name}' needs to be {message}"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("colours", ["red", "x"], "'colours[1]' needs to be one of ['red', 'blue'] (got 'x')"),
        ("k", {"a": -1}, "'k['a']' needs to be at least 0 (got -1)"),
        ("k", {"a": 1.5}, "'k['a']' needs to be of type int (got 1.5)"),
        ("k", {1: 2}, "'a key of k' needs to be of type str (got 1)"),
        ("weights", {"a": -1}, "'weights['a']' needs to be at least 0 (got -1.0)"),
    ],
)  # fmt: skip
def test_refuses_entries(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        Settings(**{name: value})
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({1: 2, "foo": 3}, r"has no settings \['1', 'foo'\]"),
        (3, r"needs a mapping of settings \(got 3\)"),
        ("abc", r"needs a mapping of settings \(got 'abc'\)"),
    ],
)
def test_refuses_what_are_no_settings(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^Settings {message}"):
        Settings.from_dict(values)
