"""Scores that are smoothed over the item graph of a modality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform, Compose

from mentor_pyg.config import AtLeastOne, AtLeastZero, Config
from mentor_pyg.data import Inputs, Scorer, knn_edge_type, modalities, num_items
from mentor_pyg.graph import Adjacency
from mentor_pyg.models.fitted.base import FittedModel
from mentor_pyg.ops import propagate
from mentor_pyg.transforms import ItemKNNGraph

__all__ = ["SmoothedModel", "SmoothedScores", "SmoothingConfig"]


@dataclass(frozen=True, kw_only=True)
class SmoothingConfig(Config):
    """What the settings of models that can smooth their scores share."""

    smooth: str | None = None
    """The modality over whose item graph scores are smoothed; none by default."""
    smooth_weight: AtLeastZero = 0.5
    """What the scores that items get from others weigh beside their own."""
    smooth_k: AtLeastOne = 10
    """Neighbours of every item in the item graph."""


class SmoothedScores:
    r"""Scores that items share with their neighbours; a :class:`~mentor_pyg.data.Scorer`.

    .. math::
        \mathbf{S}' = \mathbf{S} \, (\mathbf{I} + w \mathbf{G})

    Args:
        scorer: What gives :math:`\mathbf{S}`.
        graph: The item graph :math:`\mathbf{G}`, whose rows average over neighbours.
        weight: The weight :math:`w`.
    """

    def __init__(self, scorer: Scorer, graph: Adjacency, weight: float) -> None:
        self.num_users, self.num_items = scorer.num_users, scorer.num_items
        self._scorer, self._graph, self._weight = scorer, graph, weight

    def scores(self, user: Tensor) -> Tensor:
        """Return the scores ``[batch, num_items]`` of all items for some users ``[batch]``."""
        scores = self._scorer.scores(user)
        shared = propagate(self._graph.transposed, scores.t().contiguous()).t()
        return torch.add(scores, shared, alpha=self._weight)


class SmoothedModel(FittedModel):
    """Base of fitted models whose config is a :class:`SmoothingConfig`."""

    config: SmoothingConfig

    @classmethod
    def from_data(cls, data: HeteroData, config: Any = None) -> Self:
        """Build a model for the users and items of ``data``, with nothing learned yet.

        Raises:
            ValueError: If ``data`` lacks the modality to smooth over.
        """
        model = super().from_data(data, config)
        if model.config.smooth not in (None, *modalities(data)):
            raise ValueError(
                f"'smooth' needs to be None or a modality of the data, {[*modalities(data)]} "
                f"(got {model.config.smooth!r})"
            )
        return model

    @classmethod
    def transform(cls, config: SmoothingConfig) -> BaseTransform:
        """Return what puts the nearest-neighbour graph of the modality into a dataset."""
        if config.smooth is None:
            return Compose([])
        return ItemKNNGraph(config.smooth_k, [config.smooth])

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the item graph, whose rows average over neighbours."""
        if self.config.smooth is None:
            return {}
        edge_index = data[knn_edge_type(self.config.smooth)].edge_index
        graph = Adjacency.normalized(edge_index, num_nodes=num_items(data), by="rows")
        return {"item": graph}

    def scorer(self, inputs: Inputs) -> Scorer:
        """Return what scores items, smoothed if the config says so."""
        scorer = super().scorer(inputs)
        if self.config.smooth is None:
            return scorer
        return SmoothedScores(scorer, inputs.graphs["item"], self.config.smooth_weight)
