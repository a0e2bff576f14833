"""Neighbourhoods of items by their features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from mentor_pyg.config import AtLeastOne, AtLeastZero, Config
from mentor_pyg.data import Inputs
from mentor_pyg.graph import Adjacency
from mentor_pyg.models.fitted.sparse import (
    SparseModel,
    scipy_package,
)
from mentor_pyg.models.item_graph import item_graph_transform, merged_item_adjacency
from mentor_pyg.models.registry import register
from mentor_pyg.typing import Modality

__all__ = ["ContentKNN", "ContentKNNConfig"]


@dataclass(frozen=True, kw_only=True)
class ContentKNNConfig(Config):
    """Settings of :class:`ContentKNN`."""

    k: AtLeastOne | Mapping[Modality, AtLeastOne] = 50
    """Neighbours of every item; for all modalities, or for each."""
    modality_weights: Mapping[Modality, AtLeastZero] | None = None
    """Weights of the modalities. By default 0.1 visual and 0.9 textual where these two are the
    modalities, and equal weights otherwise."""


@register
class ContentKNN(SparseModel):
    r"""Every item of a user speaks for the items that resemble it.

    .. math::
        \hat{y}_{ui} = \sum_{j \in \mathcal{I}_u} S_{ij}

    where :math:`\mathbf{S}` is the merged graph of the items' nearest neighbours by the cosine of
    their features, see :class:`~mentor_pyg.transforms.MergeItemGraphs`. Nobody's interactions with
    an item say anything about it, so it ranks items that nobody had as it ranks others.
    """

    name = "content_knn"
    uses_features = True
    Config = ContentKNNConfig
    config: ContentKNNConfig

    @classmethod
    def transform(cls, config: ContentKNNConfig) -> BaseTransform:
        """Return what puts the merged item graph into a dataset."""
        return item_graph_transform(config)

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the merged item graph."""
        return {"item": merged_item_adjacency(data)}

    def matrix(self, inputs: Inputs) -> Any:
        """Return whom every item speaks for ``[num_items, num_items]``."""
        graph = inputs.graphs["item"]
        parts = tuple(part.cpu().numpy() for part in (graph.weight, graph.col, graph.rowptr))
        shape = (self.num_items, self.num_items)
        matrix = scipy_package().sparse.csr_array(parts, shape=shape)
        return matrix.T.tocsr()
