"""Features of columns: numbers, categories and lists of these, plainly encoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mentor_pyg.features.writing import Features, UnusableError

__all__ = ["ColumnEncoder"]


class ColumnEncoder:
    r"""Encodes every item's columns, fitted to all items.

    A column whose values are all numbers becomes :math:`(v - \mu) / \sigma`; another one becomes a
    one for the category of the item, or one for each where values are lists or text parted by
    ``|``; the most frequent categories have places of their own, others none. After each column
    comes a one for items that lack its value.

    Args:
        columns: Per column the values of all items, ``None`` where there is none.
        most_categories: The most categories that a column has places for.

    Raises:
        ValueError: If a column has no value at all.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]], most_categories: int = 256) -> None:
        self.columns, self._parts = dict(columns), dict[str, dict[str, Any]]()
        for name, values in columns.items():
            given = [value for value in values if _is_there(value)]
            if not given:
                raise ValueError(f"the column {name!r} has no values; leave it out")
            numbers = _numbers(given)
            if numbers is not None:
                deviation = float(numbers.std())
                self._parts[name] = {"mean": float(numbers.mean()), "std": deviation or 1.0}
            else:
                count = Counter(one for value in given for one in _categories(value))
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


def _numbers(values: Sequence[Any]) -> np.ndarray[Any, Any] | None:
    """Return values as finite numbers, or ``None`` if one is none."""
    if any(isinstance(value, bool | list | dict) for value in values):
        return None
    try:
        numbers = np.array([float(value) for value in values])
    except (TypeError, ValueError):
        return None
    return numbers if np.isfinite(numbers).all() else None


def _categories(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(one) for one in value if _is_there(one)]
    return [one.strip() for one in str(value).split("|") if one.strip()]
