"""Features of columns: numbers, categories and lists of these, plainly encoded."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mentor_pyg.features.writing import Features, UnusableError

__all__ = ["ColumnEncoder"]

_DECIMAL_COMMA = re.compile(r"-?\d+,\d+$")


class ColumnEncoder:
    r"""Encodes every item's columns, fitted to all items.

    A column of numbers becomes :math:`(v - \mu) / \sigma`; another one becomes a one for the
    category of the item, or one for each where values are lists or text parted by ``|``; the most
    frequent categories have places of their own, others none. After each column comes a one for
    items that lack its value.

    Args:
        columns: Per column the values of all items, ``None`` where there is none.
        most_categories: The most categories that a column has places for.
        ids: What messages call the items, in the place of their numbers.

    Raises:
        ValueError: If a column has no value at all, or nine tenths of them, but not all, are
            numbers.
    """

    def __init__(
        self,
        columns: Mapping[str, Sequence[Any]],
        most_categories: int = 256,
        *,
        ids: Sequence[str] | None = None,
    ) -> None:
        self.columns, self._parts = dict(columns), dict[str, dict[str, Any]]()
        for name, values in columns.items():
            given = {item: value for item, value in enumerate(values) if _is_there(value)}
            if not given:
                raise ValueError(f"the column {name!r} has no values; leave it out")
            numbers = _numbers(name, given, ids)
            if numbers is not None:
                deviation = float(numbers.std())
                self._parts[name] = {"mean": float(numbers.mean()), "std": deviation or 1.0}
            else:
                count = Counter(one for value in given.values() for one in _categories(value))
                best = sorted(count, key=lambda one: (-count[one], one))[:most_categories]
                self._parts[name] = {"categories": best}
        self.about: dict[str, Any] = {"columns": self._parts}

    def read(self, item: int) -> dict[str, Any]:
        """Return the values of an item.

        Raises:
            UnusableError: If it has none.
        """
        values = {name: column[item] for name, column in self.columns.items()}
        if not any(map(_is_there, values.values())):
            raise UnusableError("it has no value in any column")
        return values

    def __call__(self, items: list[dict[str, Any]]) -> Features:
        """Return the features ``[num_items, channels]``."""
        blocks = []
        for name, part in self._parts.items():
            values = [item[name] for item in items]
            there = np.array([_is_there(value) for value in values])
            if "categories" in part:
                place = {category: n for n, category in enumerate(part["categories"])}
                block = np.zeros((len(items), len(place)), dtype=np.float32)
                for row, value in enumerate(values):
                    for one in _categories(value) if there[row] else ():
                        if one in place:
                            block[row, place[one]] = 1
            else:
                numbers = [
                    float(v) if ok else part["mean"] for v, ok in zip(values, there, strict=True)
                ]
                block = ((np.array(numbers) - part["mean"]) / part["std"])[:, None]
            blocks += [block, ~there[:, None]]
        return np.concatenate(blocks, axis=1, dtype=np.float32, casting="unsafe")


def _is_there(value: Any) -> bool:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return False
    return bool(value) if isinstance(value, str | list) else True


def _numbers(
    name: str, given: Mapping[int, Any], ids: Sequence[str] | None
) -> np.ndarray[Any, Any] | None:
    """Return the values of a column by item as finite numbers, or ``None`` if it is of categories.

    Where nearly all are numbers the others are slips, and each number would be a category; sizes
    such as 38, 40 and XL are categories.
    """
    values = given.values()
    if any(isinstance(one, bool | list | dict) or "|" in str(one) for one in values):
        return None
    numbers = {item: _number(value) for item, value in given.items()}
    odd = [item for item, number in numbers.items() if number is None]
    if not odd:
        return np.array([*numbers.values()])
    commas = [item for item in odd if _DECIMAL_COMMA.match(str(given[item]))]
    if 10 * (len(given) - len(odd) + len(commas)) < 9 * len(given):
        return None
    first = odd[0]
    mend = "correct it or leave it empty"
    if first in commas:
        mend = "write a point for a decimal comma, thousands without one, and lists with '|'"
    raise ValueError(
        f"the column {name!r}: {given[first]!r} of item {ids[first] if ids else first} is no "
        f"number; {mend}, or give categories names that are no numbers"
    )


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _categories(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(one) for one in value if _is_there(one)]
    return [one.strip() for one in str(value).split("|") if one.strip()]
