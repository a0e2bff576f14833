"""Popularity."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mentor_pyg.config import Config
from mentor_pyg.data import FUSED, Inputs, Representations
from mentor_pyg.models.fitted.base import FittedModel
from mentor_pyg.models.registry import register

__all__ = ["Popularity", "PopularityConfig"]


@dataclass(frozen=True, kw_only=True)
class PopularityConfig(Config):
    """Settings of :class:`Popularity`, which has none."""


@register
class Popularity(FittedModel):
    r"""Ranks items by the number of their train interactions, the same for all users.

    TopPop in `"Performance of Recommender Algorithms on Top-N Recommendation Tasks"
    <https://doi.org/10.1145/1864708.1864721>`_: :math:`s_{ui} = n_i`.
    """

    name = "popularity"
    Config = PopularityConfig
    config: PopularityConfig
    count: Tensor

    def solve(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return the number of interactions of every item."""
        return {"count": torch.bincount(inputs.interactions[1], minlength=self.num_items).float()}

    def state_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Return the shape of the counts."""
        return {"count": (self.num_items,)}

    def fitted_scorer(self, inputs: Inputs) -> Representations:
        """Return users of ones and items of their counts, whose dot products are the counts."""
        users = self.count.new_ones(self.num_users, 1)
        return Representations({FUSED: users}, {FUSED: self.count[:, None]})
