"""Item neighbourhoods."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mentor_pyg.data import Inputs, Scorer
from mentor_pyg.models.fitted.base import FittedModel
from mentor_pyg.models.fitted.neighbours import NeighbourConfig, cosine_neighbours
from mentor_pyg.models.fitted.sparse import (
    ProductScores,
    interaction_matrix,
    sparse_buffers,
    sparse_matrix,
    sparse_shapes,
)
from mentor_pyg.models.registry import register

__all__ = ["ItemKNN", "ItemKNNConfig"]


@dataclass(frozen=True, kw_only=True)
class ItemKNNConfig(NeighbourConfig):
    """Settings of :class:`ItemKNN`."""


@register
class ItemKNN(FittedModel):
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

    def solve(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return every item's nearest items ``[num_items, num_items]``."""
        nearest = cosine_neighbours(interaction_matrix(inputs).T, self.config)
        return sparse_buffers("nearest", nearest)

    def state_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Return the shapes of the matrix's parts."""
        return sparse_shapes("nearest", self.num_items)

    def fitted_scorer(self, inputs: Inputs) -> Scorer:
        """Return the product of the interactions and the matrix."""
        nearest = sparse_matrix("nearest", self.state_dict(), self.num_items)
        return ProductScores(interaction_matrix(inputs), nearest, inputs.device)
