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
        x = x.multiply(1 / np.maximum(_lengths(x.T), 1)).tocsr()
    length = _lengths(x)

    def similarity(product: Any, row: Any, column: Any) -> Any:
        return product / (length[row] * length[column] + config.shrink)

    return top_products(x.tocsr(), x.T.tocsr(), config.k, similarity)


def _lengths(x: Any) -> Any:
    """Return the length of every row."""
    return np.sqrt(x.multiply(x).sum(axis=1))
