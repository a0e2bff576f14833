"""User neighbourhoods."""

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

__all__ = ["UserKNN", "UserKNNConfig"]


@dataclass(frozen=True, kw_only=True)
class UserKNNConfig(NeighbourConfig):
    """Settings of :class:`UserKNN`."""


@register
class UserKNN(FittedModel):
    r"""The nearest users of a user speak for their items.

    From `"GroupLens: An Open Architecture for Collaborative Filtering of Netnews"
    <https://doi.org/10.1145/192844.192905>`_, for interactions without ratings:

    .. math::
        \hat{y}_{ui} = \sum_{v \in \mathcal{N}_k(u),\; i \in \mathcal{I}_v} s_{uv}

    where :math:`s_{uv}` is the cosine of the users' items, see ``cosine_neighbours``.
    """

    name = "user_knn"
    Config = UserKNNConfig
    config: UserKNNConfig

    def solve(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return every user's nearest users ``[num_users, num_users]``."""
        nearest = cosine_neighbours(interaction_matrix(inputs), self.config)
        return sparse_buffers("nearest", nearest)

    def state_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Return the shapes of the matrix's parts."""
        return sparse_shapes("nearest", self.num_users)

    def fitted_scorer(self, inputs: Inputs) -> Scorer:
        """Return the product of the matrix and the interactions."""
        nearest = sparse_matrix("nearest", self.state_dict(), self.num_users)
        return ProductScores(nearest, interaction_matrix(inputs), inputs.device)
