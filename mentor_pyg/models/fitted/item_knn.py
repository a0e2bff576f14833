"""Item neighbourhoods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mentor_pyg.data import Inputs
from mentor_pyg.models.fitted.neighbours import NeighbourConfig, cosine_neighbours
from mentor_pyg.models.fitted.sparse import (
    SparseModel,
    interaction_matrix,
)
from mentor_pyg.models.registry import register

__all__ = ["ItemKNN", "ItemKNNConfig"]


@dataclass(frozen=True, kw_only=True)
class ItemKNNConfig(NeighbourConfig):
    """Settings of :class:`ItemKNN`."""


@register
class ItemKNN(SparseModel):
    r"""Every item of a user speaks for its nearest items.

    From `"Item-Based Top-N Recommendation Algorithms" <https://doi.org/10.1145/963770.963776>`_,
    with the shrinkage of `"Improved Neighborhood-based Collaborative Filtering"
    <https://doi.org/10.1109/ICDM.2007.90>`_:

    .. math::
        \hat{y}_{ui} = \sum_{j \in \mathcal{I}_u,\; i \in \mathcal{N}_k(j)} s_{ji}

    where :math:`s_{ji}` is the cosine of the items' users, see ``cosine_neighbours``.
    """

    name = "item_knn"
    Config = ItemKNNConfig
    config: ItemKNNConfig

    def matrix(self, inputs: Inputs) -> Any:
        """Return every item's nearest items ``[num_items, num_items]``."""
        return cosine_neighbours(interaction_matrix(inputs).T, self.config)
