"""User neighbourhoods."""

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

__all__ = ["UserKNN", "UserKNNConfig"]


@dataclass(frozen=True, kw_only=True)
class UserKNNConfig(NeighbourConfig):
    """Settings of :class:`UserKNN`."""


@register
class UserKNN(SparseModel):
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
    between_users = True

    def matrix(self, inputs: Inputs) -> Any:
        """Return every user's nearest users ``[num_users, num_users]``."""
        return cosine_neighbours(interaction_matrix(inputs), self.config)
