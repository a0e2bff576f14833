"""MENTOR with the ids in its score, trained by the exact softmax."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset
from torch_geometric.transforms import BaseTransform, Compose

from mentor_pyg.config import AtLeastOne, AtLeastZero, Count, Positive, Share
from mentor_pyg.data import FUSED, Batch, Inputs, Representations, Sizes
from mentor_pyg.graph import Adjacency
from mentor_pyg.models.base import FeatureConfig
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.embeddings import EmbeddingRecommender
from mentor_pyg.models.item_graph import item_graph_transform, merged_item_adjacency
from mentor_pyg.models.modalities import check_modalities
from mentor_pyg.models.pruned_inputs import pruned_inputs
from mentor_pyg.models.ranking import ranking_terms
from mentor_pyg.models.registry import register
from mentor_pyg.nn import LayeredPropagation, ModalityProjection
from mentor_pyg.ops import propagate, unit_rows
from mentor_pyg.typing import Modality

__all__ = ["MENTORPlus", "MENTORPlusConfig"]


@dataclass(frozen=True, kw_only=True)
class MENTORPlusConfig(FeatureConfig):
    """Settings of :class:`MENTORPlus`, with the values that validation chose on TikTok.

    They are those of embeddings 64 wide. The model is meant to be trained in batches of users, by
    ``TrainingConfig(batches="users", batch_size=512)``.
    """

    ranking_loss: Literal["bpr", "softmax"] = "softmax"
    """``"softmax"``: against all items, exactly. ``"bpr"``: against one negative."""
    ranking_temperature: Positive = 0.2
    """Temperature of the softmax."""
    num_layers: Count = 2
    """Layers of propagation over the interactions."""
    content: bool = True
    """Whether projected features are added to the ids."""
    item_graph_weight: AtLeastZero = 2.0
    """How far the neighbours over the item graph go into an item; at 0 there is no item graph."""
    k: AtLeastOne | Mapping[Modality, AtLeastOne] = 10
    """Neighbours of every item in the item graphs; for all modalities, or for each."""
    modality_weights: Mapping[Modality, AtLeastZero] | None = None
    """Weights of the item graphs in the merged one. By default 0.1 visual and 0.9 textual where
    these two are the modalities, and equal weights otherwise."""
    prune_ratio: Share = 0.5
    """Share of interactions that an epoch does without."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""

    features_need = "content"


@register
class MENTORPlus(EmbeddingRecommender):
    r"""MENTOR's graphs and features around item ids that rank, trained by the exact softmax.

    A variant of `"MENTOR: Multi-level Self-supervised Learning for Multimodal Recommendation"
    <https://arxiv.org/abs/2402.19407>`_. What is kept is what validation supports
    (``docs/trials.md``): propagation over interactions, features projected to the ids' width,
    and the item semantic graph. With tables :math:`\mathbf{E}` of users and items,

    .. math::
        \mathbf{x}_i &= \mathbf{e}_i + \sum_{m \in \mathcal{M}_i} \left( \mathbf{W}_m
        \frac{\mathbf{f}_{i,m}}{\lVert \mathbf{f}_{i,m} \rVert} + \mathbf{b}_m \right) \\
        \mathbf{H} &= \frac{1}{L + 1} \sum_{l=0}^{L} \hat{\mathbf{A}}_p^l
        \begin{bmatrix} \mathbf{E}_{\mathcal{U}} \\ \mathbf{x} \end{bmatrix}, \qquad
        \mathbf{h}_u = \mathbf{H}_u, \qquad
        \mathbf{h}_i = \mathbf{H}_i + \omega (\mathbf{S} \mathbf{x})_i

    .. math::
        \mathcal{L} = - \frac{1}{|\mathcal{B}|} \sum_{(u, i) \in \mathcal{B}} \log
        \frac{\exp(\cos(\mathbf{h}_u, \mathbf{h}_i) / \tau)}
        {\sum_{j \in \mathcal{I}} \exp(\cos(\mathbf{h}_u, \mathbf{h}_j) / \tau)}

    where :math:`\mathcal{M}_i` are the modalities that the item has, :math:`\mathbf{S}` is the
    merged item graph, see :class:`~mentor_pyg.transforms.MergeItemGraphs`, and
    :math:`\hat{\mathbf{A}}_p` the normalised graph of the interactions that an epoch keeps, drawn
    uniformly. All interactions are used to rank.

    Other than MENTOR it has no users' modality preferences, no alignment, no feature masking and
    no graph perturbation.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings.
    """

    name = "mentor_plus"
    Config = MENTORPlusConfig
    config: MENTORPlusConfig

    def __init__(self, sizes: Sizes, config: MENTORPlusConfig | None = None) -> None:
        super().__init__(sizes, config)
        check_modalities(self)
        config, dim = self.config, self.config.embedding_dim
        channels = sizes.channels if config.content else {}
        self.projections = nn.ModuleDict(
            {m: ModalityProjection(c, dim) for m, c in channels.items()}
        )
        self.propagation = LayeredPropagation(
            config.num_layers, layer_readout="mean", backend=config.backend
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        reset(self.projections)

    @classmethod
    def transform(cls, config: MENTORPlusConfig) -> BaseTransform:
        """Return what puts the item graphs into a dataset, where they are used."""
        if not config.item_graph_weight:
            return Compose([])
        return item_graph_transform(config)

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the graph of all interactions and that of the items."""
        graph = self.interaction_graph(data)
        if not self.config.item_graph_weight:
            return {"interaction": graph}
        return {"interaction": graph, "item": merged_item_adjacency(data)}

    def resample(self, inputs: Inputs, epoch: int, generator: torch.Generator) -> Inputs:
        """Return the inputs with the graph of the interactions that the epoch keeps."""
        return pruned_inputs(inputs, self.config.prune_ratio, generator, "uniform")

    def represent(self, inputs: Inputs) -> Representations:
        """Return the fused view."""
        x = self.item_inputs(inputs)
        nodes = torch.cat([self.user_embedding, x])
        h = self.propagation(nodes, inputs.graphs["interaction"])
        user, item = h.split([self.num_users, self.num_items])
        if weight := self.config.item_graph_weight:
            item = item + weight * propagate(inputs.graphs["item"], x, self.config.backend)
        return Representations({FUSED: user}, {FUSED: item})

    def item_inputs(self, inputs: Inputs) -> Tensor:
        """Return the ids and projected features of all items ``[num_items, d]``."""
        x: Tensor = self.item_embedding
        for modality, projection in self.projections.items():
            features = unit_rows(inputs.features[modality])
            x = x + projection(features, inputs.present.get(modality))
        return x

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the ranking loss, ``softmax`` or ``bpr``."""
        return ranking_terms(self.represent(inputs), batch, self.config)
