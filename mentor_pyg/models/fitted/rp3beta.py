"""RP3beta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mentor_pyg.config import AtLeastOne, AtLeastZero
from mentor_pyg.data import Inputs
from mentor_pyg.models.fitted.smoothing import SmoothedModel, SmoothingConfig
from mentor_pyg.models.fitted.sparse import (
    SparseModel,
    interaction_matrix,
    top_products,
)
from mentor_pyg.models.registry import register

__all__ = ["RP3Beta", "RP3BetaConfig"]


@dataclass(frozen=True, kw_only=True)
class RP3BetaConfig(SmoothingConfig):
    """Settings of :class:`RP3Beta`."""

    alpha: AtLeastZero = 0.5
    """The power of a step's probability."""
    beta: AtLeastZero = 0.0
    """The power of the popularity that paths are divided by."""
    k: AtLeastOne = 200
    """Items to which the paths of an item lead."""


@register
class RP3Beta(SmoothedModel, SparseModel):
    r"""Random walks of three steps, from a user over items and users to items.

    From `"Updatable, Accurate, Diverse, and Scalable Recommendations for Interactive
    Applications" <https://doi.org/10.1145/2955101>`_: the walks of P3alpha, divided by the
    popularity of the item where they end. As in `"Are We Really Making Much Progress?"
    <https://arxiv.org/abs/1907.06902>`_, the first step counts 1, and every item keeps its
    :math:`k` largest weights:

    .. math::
        \hat{y}_{ui} = \sum_{j \in \mathcal{I}_u} w_{ji}, \qquad
        w_{ji} = \frac{1}{n_i^{\beta}} \sum_{v \in \mathcal{U}_j \cap \mathcal{U}_i}
        \left(\frac{1}{n_j}\right)^{\alpha} \left(\frac{1}{n_v}\right)^{\alpha}

    where :math:`n` is the number of interactions of an item or user.
    """

    name = "rp3beta"
    Config = RP3BetaConfig
    config: RP3BetaConfig
    matrix_name = "weight"

    def matrix(self, inputs: Inputs) -> Any:
        """Return the weights ``[num_items, num_items]``."""
        x = interaction_matrix(inputs)
        of_user, of_item = (np.maximum(x.sum(axis=axis), 1) for axis in (1, 0))
        alpha, beta = self.config.alpha, self.config.beta
        to_users = x.T.multiply(of_item[:, None] ** -alpha).tocsr()
        to_items = x.multiply(of_user[:, None] ** -alpha).multiply(of_item**-beta).tocsr()
        return top_products(to_users, to_items, self.config.k)
