"""MGCN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from mentor_pyg.config import AtLeastOne, AtLeastZero, Count, Positive
from mentor_pyg.data import FUSED, ID, INTERACTS, Batch, Inputs, Representations, Sizes
from mentor_pyg.graph import Adjacency, interaction_adjacency
from mentor_pyg.models.base import GraphFeatureConfig
from mentor_pyg.models.batch_contrast import batch_contrast
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.embeddings import EmbeddingRecommender
from mentor_pyg.models.modalities import check_modalities, similarity_adjacency
from mentor_pyg.models.ranking import batch_penalty, ranking_terms
from mentor_pyg.models.registry import register
from mentor_pyg.nn import BehaviourAwareFusion, LayeredPropagation, PurifiedViews
from mentor_pyg.transforms import ItemKNNGraph
from mentor_pyg.typing import Modality

__all__ = ["MGCN", "MGCNConfig"]


@dataclass(frozen=True, kw_only=True)
class MGCNConfig(GraphFeatureConfig):
    """Settings of :class:`MGCN`, with the published values."""

    num_layers: Count = 2
    """Layers of propagation over the interactions."""
    num_item_layers: Count = 1
    """Layers of propagation over the item graphs."""
    k: AtLeastOne | Mapping[Modality, AtLeastOne] = 10
    """Neighbours of every item in the item graphs, itself among them; for all modalities, or for
    each."""
    contrast_weight: AtLeastZero = 0.01
    """Weight of the contrast between behaviour and modalities; at 0 it is not computed."""
    temperature: Positive = 0.2
    """Temperature of the contrast."""
    reg_weight: AtLeastZero = 1e-4
    """Weight of the batch's squared representations."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""


@register
class MGCN(EmbeddingRecommender):
    r"""Modalities purified by behaviour, spread over item graphs, and fused by behaviour.

    From `"Multi-View Graph Convolutional Network for Multimedia Recommendation"
    <https://arxiv.org/abs/2308.03588>`_. With item ids :math:`\mathbf{E}_{id}` and raw features
    :math:`\mathbf{F}_m`:

    .. math::
        \dot{\mathbf{E}}_{i,m} &= \mathbf{E}_{i,id} \odot \sigma\big((\mathbf{F}_m
        \mathbf{W}_{1,m} + \mathbf{b}_{1,m}) \mathbf{W}_{2,m} + \mathbf{b}_{2,m}\big) \\
        \bar{\mathbf{E}}_{id} &= \tfrac{1}{L + 1} \textstyle\sum_l
        \hat{\mathbf{A}}^l \mathbf{E}_{id} \\
        \bar{\mathbf{E}}_{i,m} &= \mathbf{S}_m^n \dot{\mathbf{E}}_{i,m}, \qquad
        \bar{\mathbf{E}}_{u,m} = \hat{\mathbf{R}} \bar{\mathbf{E}}_{i,m} \\
        \mathbf{E}_s &= \textstyle\sum_m \alpha_m \bar{\mathbf{E}}_m, \qquad
        \alpha_m = \mathrm{softmax}_m\,
        \mathbf{q}^\top \tanh(\mathbf{W}_3 \bar{\mathbf{E}}_m + \mathbf{b}_3) \\
        \mathbf{E}_{mul} &= \tfrac{1}{|\mathcal{M}| + 1} \big(\mathbf{E}_s + \textstyle\sum_m
        (\bar{\mathbf{E}}_m - \mathbf{E}_s) \odot
        \sigma(\mathbf{W}_{4,m} \bar{\mathbf{E}}_{id} + \mathbf{b}_{4,m})\big)

    Users and items are ranked by the dot product of :math:`\bar{\mathbf{E}}_{id} +
    \mathbf{E}_{mul}`. The loss is the ranking loss, InfoNCE of :math:`\mathbf{E}_{mul}` against
    :math:`\bar{\mathbf{E}}_{id}` over the users and over the positive items of the batch, and the
    squared representations of the batch. :math:`\hat{\mathbf{A}}` is the normalised graph of the
    interactions, :math:`\hat{\mathbf{R}}` its block from items to users; for
    :math:`\mathbf{S}_m` see ``mentor_pyg.models.modalities.similarity_adjacency``.

    The factor :math:`1 / (|\mathcal{M}| + 1)`, the neighbours that include the item itself, and the
    contrast within the batch are those of the authors' public code. Other than there, raw features
    are not trained, and the squared representations are divided by the size of the batch at hand,
    not by the nominal one. Of a :class:`~mentor_pyg.data.UserBatch` every user is contrasted
    once.

    An item that lacks a modality, and a user none of whose items has it, hold zeros in that view,
    which then takes no part in the fusion: attention is over the other views.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings.
    """

    name = "mgcn"
    Config = MGCNConfig
    config: MGCNConfig

    def __init__(self, sizes: Sizes, config: MGCNConfig | None = None) -> None:
        super().__init__(sizes, config)
        check_modalities(self)
        dim = self.config.embedding_dim
        self.views = PurifiedViews(
            sizes.channels, dim, self.config.num_item_layers, self.config.backend
        )
        self.fusion = BehaviourAwareFusion(sizes.channels, dim)
        self.propagation = LayeredPropagation(
            self.config.num_layers, layer_readout="mean", backend=self.config.backend
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        self.views.reset_parameters()
        self.fusion.reset_parameters()

    @classmethod
    def transform(cls, config: MGCNConfig) -> BaseTransform:
        """Return what puts the nearest neighbours of every modality into a dataset."""
        return ItemKNNGraph(config.k)

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the interactions, their block from items to users, and a graph per modality."""
        edge_index = data[INTERACTS].edge_index
        users, items = self.num_users, self.num_items
        return {
            "interaction": interaction_adjacency(edge_index, users, items),
            "user": Adjacency.normalized(edge_index.flip(0), num_nodes=(items, users)),
            **{f"item/{m}": similarity_adjacency(data, m) for m in self.sizes.channels},
        }

    def represent(self, inputs: Inputs) -> Representations:
        """Return the views ``"fused"``, ``"id"`` (behaviour) and every modality."""
        behaviour, views = self.behaviour(inputs), self.modality_views(inputs)
        nodes = {
            FUSED: behaviour + self.fusion(views, behaviour),
            ID: behaviour,
            **dict(zip(self.sizes.channels, views, strict=True)),
        }
        return Representations.from_nodes(nodes, self.num_users)

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the ranking loss, ``bpr`` or ``softmax``, ``contrast`` and ``reg``."""
        config, behaviour = self.config, self.behaviour(inputs)
        side = self.fusion(self.modality_views(inputs), behaviour)
        reps = Representations.from_nodes({FUSED: behaviour + side}, self.num_users)
        contrast = side.new_zeros(())
        if config.contrast_weight:
            contrast = config.contrast_weight * self.contrast_loss(side, behaviour, batch)
        penalty = batch_penalty(reps.user[FUSED], reps.item[FUSED], batch, config)
        return {
            **ranking_terms(reps, batch, config),
            "contrast": contrast,
            "reg": config.reg_weight * penalty,
        }

    def behaviour(self, inputs: Inputs) -> Tensor:
        """Return the ids of users and items propagated ``[num_users + num_items, d]``."""
        out: Tensor = self.propagation(self.ids, inputs.graphs["interaction"])
        return out

    def modality_views(self, inputs: Inputs) -> Tensor:
        """Return every modality's users and items ``[modalities, num_users + num_items, d]``."""
        graphs = inputs.graphs
        items = {m: graphs[f"item/{m}"] for m in self.sizes.channels}
        views: Tensor = self.views(
            self.item_embedding, inputs.features, inputs.present, items, graphs["user"]
        )
        return views

    def contrast_loss(self, side: Tensor, behaviour: Tensor, batch: Batch) -> Tensor:
        """Return InfoNCE between modalities and behaviour, users and positive items of a batch."""
        sizes = [self.num_users, self.num_items]
        a, b = side.split(sizes), behaviour.split(sizes)
        return batch_contrast(a, b, batch, self.config.temperature, self.config.precision)
