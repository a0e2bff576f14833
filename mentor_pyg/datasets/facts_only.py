"""Datasets hold facts: the settings of models that they once took are refused."""

from collections.abc import Callable
from functools import wraps
from numbers import Number
from typing import ParamSpec

__all__ = ["facts_only"]

_P = ParamSpec("_P")
_MOVED = ("k", "modality_weights")


def facts_only(init: Callable[_P, None]) -> Callable[_P, None]:
    """Make the ``__init__`` of a dataset say where ``k`` and ``modality_weights`` are now.

    ``k`` was the third argument, where the datasets of today take no number.
    """

    @wraps(init)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> None:
        moved = [name for name in _MOVED if name in kwargs]
        if moved or any(isinstance(value, Number) for value in args[3:4]):
            raise TypeError(
                f"{init.__qualname__.split('.')[0]} takes no {' and '.join(moved or _MOVED[:1])}: "
                f"k and modality_weights are settings of the model now, for example "
                f"MENTORConfig(k=10)"
            )
        init(*args, **kwargs)

    return checked
