"""DualGNN."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from mentor_pyg.config import AtLeastOne, AtLeastZero, Count
from mentor_pyg.data import FUSED, Batch, Inputs, Representations, Sizes
from mentor_pyg.graph import Adjacency
from mentor_pyg.models.base import FeatureConfig, Recommender
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.modalities import check_modalities
from mentor_pyg.models.ranking import ranking_terms
from mentor_pyg.models.registry import register
from mentor_pyg.models.user_graph import (
    UserAggregation,
    aggregation,
    co_occurrence,
    drawn_multiplicity,
)
from mentor_pyg.nn import LayeredPropagation, ModalityEncoder, ModalityFusion
from mentor_pyg.ops import propagate

__all__ = ["DualGNN", "DualGNNConfig"]


@dataclass(frozen=True, kw_only=True)
class DualGNNConfig(FeatureConfig):
    """Settings of :class:`DualGNN`, with the values of the authors' public code."""

    num_layers: Count = 2
    """Layers of propagation over the interactions."""
    k: AtLeastOne = 40
    """Neighbours of every user in the graph of users."""
    user_aggregation: UserAggregation = "softmax"
    """What neighbours are weighed by: a ``"softmax"`` of the items in common, or ``"mean"``."""
    softmax_weights: bool = False
    """Whether the modality weights of a user stay a softmax of what is learned; otherwise they
    start as one and are then free."""
    reg_weight: AtLeastZero = 0.1
    """Weight of the squared preferences of the batch's users and of the modality weights."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""


@register
class DualGNN(Recommender):
    r"""A graph of interactions per modality, and a graph of users who share items.

    From `"DualGNN: Dual Graph Neural Network for Multimedia Recommendation"
    <https://doi.org/10.1109/TMM.2021.3138298>`_. In modality :math:`m`, users start as learned
    preferences :math:`\mathbf{p}_{u,m}` and items as their features through two linear layers,
    all of unit length (:class:`~mentor_pyg.nn.ModalityEncoder`). With the normalised graph
    :math:`\hat{\mathbf{A}}` of the interactions and learned weights :math:`\alpha_{u,m}`,

    .. math::
        \mathbf{h}_m &= \sum_{l=0}^{L} \hat{\mathbf{A}}^l \mathbf{x}_m, \qquad
        \mathbf{h}_i = \sum_m \mathbf{h}_{i,m}, \qquad
        \bar{\mathbf{h}}_u = \sum_m \alpha_{u,m} \mathbf{h}_{u,m} \\
        \mathbf{h}_u &= \bar{\mathbf{h}}_u + \sum_{v \in \mathcal{N}_u} s_{uv}
        \bar{\mathbf{h}}_v, \qquad s_{uv} = \mathrm{softmax}_{v \in \mathcal{N}_u}\, n_{uv}

    where :math:`\mathcal{N}_u` are the :math:`k` users with the most items :math:`n_{uv}` in common
    with :math:`u`. A user with fewer neighbours has them drawn repeatedly, anew for every epoch,
    until there are :math:`k`: a neighbour that is drawn :math:`c_{uv}` times weighs
    :math:`c_{uv} \exp n_{uv}`, up to the same factor. To rank, every neighbour counts once. A user
    who shares no item adds nothing. Users and items are ranked by their dot product. The loss is
    the ranking loss, BPR to the base 2, and the mean squares of the preferences of the batch's
    users and of the modality weights.

    The graph of users holds :math:`k` edges a user, made once of sparse products
    (``mentor_pyg.models.user_graph.co_occurrence``).

    MMRec's port of the authors' code adds up modalities in place, so that it weighs other sums;
    this is not in theirs. The authors' public code ranks by what the last batch of training left,
    repeated neighbours included. It also penalises modality weights of items, and picks items to
    drop, neither of which anything else reads; both are left out, and so are the other combinations
    of modalities that the paper compares. Of users who share as many items it takes any; here those
    of the lowest ids.

    An item that lacks a modality starts as zeros there, and holds what its users give it.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings.
    """

    name = "dualgnn"
    Config = DualGNNConfig
    config: DualGNNConfig

    def __init__(self, sizes: Sizes, config: DualGNNConfig | None = None) -> None:
        super().__init__(sizes, config)
        check_modalities(self)
        config, dim = self.config, self.config.embedding_dim
        self.encoders = nn.ModuleDict(
            {m: ModalityEncoder(c, dim, self.num_users) for m, c in sizes.channels.items()}
        )
        self.fusion = ModalityFusion(self.num_users, [*sizes.channels], config.softmax_weights)
        self.propagation = LayeredPropagation(config.num_layers, backend=config.backend)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        for module in self.modules():
            if isinstance(module, ModalityEncoder | ModalityFusion):
                module.reset_parameters()

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the interactions, the items that users share, and the weights made of them."""
        shared = co_occurrence(data, self.config.k)
        return {
            "interaction": self.interaction_graph(data),
            "shared": shared,
            "user": aggregation(shared, self.config.user_aggregation),
        }

    def resample(self, inputs: Inputs, epoch: int, generator: torch.Generator) -> Inputs:
        """Return the inputs with neighbours drawn repeatedly where a user has fewer than ``k``."""
        shared = inputs.graphs["shared"]
        drawn = drawn_multiplicity(shared, self.config.k, generator)
        return inputs.with_graphs(user=aggregation(shared, self.config.user_aggregation, drawn))

    def represent(self, inputs: Inputs) -> Representations:
        """Return the views ``"fused"`` and every modality."""
        user, item = {}, {}
        for modality, encoder in self.encoders.items():
            x = encoder(inputs.features[modality], inputs.present.get(modality))
            h = self.propagation(x, inputs.graphs["interaction"])
            user[modality], item[modality] = h.split([self.num_users, self.num_items])
        shape = (len(user), self.config.embedding_dim)
        own, fused = (x.unflatten(1, shape).sum(dim=1) for x in self.fusion(user, item))
        others = propagate(inputs.graphs["user"], own, self.config.backend)
        return Representations({FUSED: own + others, **user}, {FUSED: fused, **item})

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the ranking loss, ``bpr`` or ``softmax``, and the term ``reg``."""
        penalty = self.fusion.user_modality_weight().square().mean()
        for encoder in self.encoders.values():
            preference = F.embedding(batch.user, encoder.user_preference)  # type: ignore[arg-type]
            penalty = penalty + preference.square().mean()
        return {
            **ranking_terms(self.represent(inputs), batch, self.config, log_base=2),
            "reg": self.config.reg_weight * penalty,
        }
