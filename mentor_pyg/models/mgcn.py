"""MGCN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.config import AtLeastOne, AtLeastZero, Count, Positive
from mentor_pyg.data import Batch, Inputs, Sizes
from mentor_pyg.graph import Adjacency
from mentor_pyg.models.base import GraphFeatureConfig
from mentor_pyg.models.behaviour import PurifiedRecommender
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.modalities import similarity_adjacency
from mentor_pyg.models.registry import register
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
class MGCN(PurifiedRecommender):
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
        self.reset_parameters()

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the interactions, their block from items to users, and a graph per modality."""
        items = {f"item/{m}": similarity_adjacency(data, m) for m in self.sizes.channels}
        return {**super().graphs(data), **items}

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the ranking loss, ``bpr`` or ``softmax``, ``contrast`` and ``reg``."""
        behaviour = self.behaviour(inputs)
        side = self.fusion(self.modality_views(inputs), behaviour)
        return self.terms_of(side, behaviour, batch)
