"""Nearest neighbours by the cosine of interactions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mentor_pyg.config import AtLeastOne, AtLeastZero, Config
from mentor_pyg.models.fitted.sparse import top_products

__all__ = ["NeighbourConfig", "cosine_neighbours"]


@dataclass(frozen=True, kw_only=True)
class NeighbourConfig(Config):
    """What the settings of the neighbourhood models share."""

    k: AtLeastOne = 100
    """Neighbours of everyone."""
    shrink: AtLeastZero = 0.0
    """What is added to the product of lengths, so that neighbours of little support count less."""
    normalize: bool = False
    """Whether interactions are scaled first, so that what has many of them does not outweigh
    the rest: users to unit length between items, items to unit length between users."""


def cosine_neighbours(x: Any, config: NeighbourConfig) -> Any:
    r"""Return every row's nearest others and their similarities, SciPy's CSR matrix ``[n, n]``.

    .. math::
        s_{ab} = \frac{\mathbf{x}_a \cdot \mathbf{x}_b}
        {\lVert \mathbf{x}_a \rVert \lVert \mathbf{x}_b \rVert + \text{shrink}}

    Args:
        x: SciPy's sparse matrix ``[n, m]``.
        config: The settings.
    """
    if config.normalize:
        x = x.multiply(1 / np.sqrt(np.maximum(_squares(x.T), 1)))
    square = _squares(x)

    def similarity(product: Any, row: Any, column: Any) -> Any:
        # One root, which is exact where it can be, so that equal cosines are equal numbers.
        return product / (np.sqrt(square[row] * square[column]) + config.shrink)

    return top_products(x.tocsr(), x.T.tocsr(), config.k, similarity)


def _squares(x: Any) -> Any:
    """Return the squared length of every row."""
    return x.multiply(x).sum(axis=1)
