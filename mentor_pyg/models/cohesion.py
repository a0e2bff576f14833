"""COHESION."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from mentor_pyg.config import AtLeastOne, AtLeastZero, Count
from mentor_pyg.data import FUSED, ID, Batch, Inputs, Representations, Sizes
from mentor_pyg.graph import Adjacency
from mentor_pyg.losses import bpr_loss
from mentor_pyg.models.base import FeatureConfig, Recommender
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.item_graph import item_graph_transform, merged_item_adjacency
from mentor_pyg.models.modalities import check_modalities
from mentor_pyg.models.ranking import ranking_terms
from mentor_pyg.models.registry import register
from mentor_pyg.models.user_graph import aggregation, co_occurrence, drawn_multiplicity
from mentor_pyg.nn import ItemSemanticConv, ModalityEncoder, RefinedPropagation
from mentor_pyg.ops import propagate, unit_rows
from mentor_pyg.typing import Modality

__all__ = ["COHESION", "COHESIONConfig"]

_EPS = 1e-8
"""Below the root of the early fusion, so that it has a gradient at zero."""


@dataclass(frozen=True, kw_only=True)
class COHESIONConfig(FeatureConfig):
    """Settings of :class:`COHESION`, with the values of the authors' public code."""

    num_layers: AtLeastOne = 2
    """Layers of propagation over the interactions; published are 1 to 4."""
    num_item_layers: Count = 1
    """Times that the item graph is applied."""
    k: AtLeastOne | Mapping[Modality, AtLeastOne] = 10
    """Neighbours of every item in the item graphs, itself among them; for all modalities, or for
    each."""
    modality_weights: Mapping[Modality, AtLeastZero] | None = None
    """Weights of the item graphs in the merged one. By default 0.1 visual and 0.9 textual where
    these two are the modalities, as published, and equal weights otherwise."""
    user_k: AtLeastOne = 40
    """Neighbours of every user in the graph of users."""
    train_id_view: bool = True
    """Whether the view of ids is trained. In the public code it is not: its users and layers stay
    as they were drawn, and ids learn through the other views."""
    reg_weight: AtLeastZero = 1e-4
    """Weight of the squared preferences of the batch's users; published are 1e-4 to 0.1."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""


@register
class COHESION(Recommender):
    r"""Modalities refined by ids, over graphs of interactions, of users and of items.

    From `"COHESION: Composite Graph Convolutional Network with Dual-Stage Fusion for Multimodal
    Recommendation" <https://arxiv.org/abs/2504.04452>`_. In every view :math:`v`, of the ids and
    of each modality, users start as learned preferences :math:`\mathbf{p}_v` and items as the root
    mean square of their ids :math:`\mathbf{x}` and of their features, or ids, through two linear
    layers, with all rows of unit length:

    .. math::
        \mathbf{z}_{i,v} = \mathbf{W}_{2,v}\, \mathrm{LeakyReLU}(\mathbf{W}_{1,v} \mathbf{f}_{i,v}
        + \mathbf{b}_{1,v}) + \mathbf{b}_{2,v}, \qquad
        \mathbf{h}^{(0)}_{i,v} = \mathrm{unit} \sqrt{\tfrac{1}{2} (\mathbf{z}_{i,v}^2 +
        \mathbf{x}_i^2) + \epsilon}, \qquad
        \mathbf{h}^{(0)}_{u,v} = \mathrm{unit}\, \mathbf{p}_{u,v}

    Three graphs follow: the layer-refined propagation over the normalised interactions
    :math:`\hat{\mathbf{A}}` (:class:`~mentor_pyg.nn.RefinedPropagation`), the users :math:`v` with
    the most items in common, as in :class:`DualGNN`, and the merged item graph :math:`\mathbf{S}`,
    as in :class:`FREEDOM`:

    .. math::
        \tilde{\mathbf{h}}^{(l)} &= \hat{\mathbf{A}} \mathbf{h}^{(l-1)}, \qquad
        \mathbf{h}^{(l)}_n = \cos(\tilde{\mathbf{h}}^{(l)}_n, \mathbf{h}^{(0)}_n)\,
        \tilde{\mathbf{h}}^{(l)}_n, \qquad
        \bar{\mathbf{h}} = \textstyle\sum_{l=0}^{L} \mathbf{h}^{(l)} \\
        \mathbf{h}_u &= \bar{\mathbf{h}}_u + \textstyle\sum_{w \in \mathcal{N}_u} s_{uw}
        \bar{\mathbf{h}}_w, \qquad
        \mathbf{h}_i = \bar{\mathbf{h}}_i + (\mathbf{S}^{n} \bar{\mathbf{h}}_\mathcal{I})_i

    Users and items are ranked by the dot product of all views side by side. With the dot products
    :math:`r^{\pm}_v` of a user's view with the positive and the negative item's, BPR, to the base
    2, pays heed to the views that tell the two apart less well,

    .. math::
        \mathcal{L} = - \log_2 \sigma\Big(\sum_v w_v (r^+_v - r^-_v)\Big), \qquad
        w_v = 1 - \mathrm{softmax}_v (r^+_v - r^-_v)

    where no gradient goes through :math:`w`. The softmax over all items compares the views side by
    side as they are. To the ranking loss are added the mean squares of the modalities' preferences
    of the batch's users.

    The authors' public code keeps the gradient out of the view of ids, whose users and layers stay
    as they were drawn, as with ``train_id_view=False``. It ranks by what the last batch of training
    left; here neighbours of a user who has fewer than ``user_k`` are drawn repeatedly to train, as
    there, but count once to rank. It penalises modality weights that nothing else reads, which are
    left out, and so is its pruning of interactions, which its settings have at 0.

    An item that lacks a modality has zeros for :math:`\mathbf{z}` there, so that it starts as its
    ids do, and has its other modalities' item graphs weighed up.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings.
    """

    name = "cohesion"
    Config = COHESIONConfig
    config: COHESIONConfig

    def __init__(self, sizes: Sizes, config: COHESIONConfig | None = None) -> None:
        super().__init__(sizes, config)
        check_modalities(self)
        config, dim = self.config, self.config.embedding_dim
        self.item_embedding = nn.Parameter(torch.empty(self.num_items, dim))
        widths = {ID: dim, **sizes.channels}
        self.encoders = nn.ModuleDict(
            {view: ModalityEncoder(c, dim, self.num_users) for view, c in widths.items()}
        )
        self.propagation = RefinedPropagation(config.num_layers, backend=config.backend)
        self.item_conv = ItemSemanticConv(config.num_item_layers, backend=config.backend)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        nn.init.xavier_normal_(self.item_embedding)
        for module in self.modules():
            if isinstance(module, ModalityEncoder):
                module.reset_parameters()

    @classmethod
    def transform(cls, config: COHESIONConfig) -> BaseTransform:
        """Return what puts the item graphs into a dataset."""
        return item_graph_transform(config)

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the interactions, the item graph, the items that users share, and its weights."""
        shared = co_occurrence(data, self.config.user_k)
        return {
            "interaction": self.interaction_graph(data),
            "item": merged_item_adjacency(data, self_neighbours=True),
            "shared": shared,
            "user": aggregation(shared, "softmax"),
        }

    def resample(self, inputs: Inputs, epoch: int, generator: torch.Generator) -> Inputs:
        """Return the inputs with neighbours drawn repeatedly where a user has fewer than asked."""
        shared = inputs.graphs["shared"]
        drawn = drawn_multiplicity(shared, self.config.user_k, generator)
        return inputs.with_graphs(user=aggregation(shared, "softmax", drawn))

    def represent(self, inputs: Inputs) -> Representations:
        """Return the views ``"fused"``, ``"id"`` and every modality."""
        x = self.nodes(inputs)
        h = x + self.propagation(x, inputs.graphs["interaction"])
        if not self.config.train_id_view:
            h = torch.cat([h[:1].detach(), h[1:]])
        user, item = h.split([self.num_users, self.num_items], dim=1)
        user = user + propagate(inputs.graphs["user"], user, self.config.backend)
        item = self.item_conv(item, inputs.graphs["item"])
        sides = [
            {FUSED: torch.cat([*views], dim=1), **dict(zip(self.encoders, views, strict=True))}
            for views in (user, item)
        ]
        return Representations(*sides)

    def nodes(self, inputs: Inputs) -> Tensor:
        """Return what is propagated, users and items ``[views, num_users + num_items, d]``."""
        views, ids = [], self.item_embedding
        for view, encoder in self.encoders.items():
            assert isinstance(encoder, ModalityEncoder)
            item = encoder.items(inputs.features.get(view, ids), inputs.present.get(view))
            item = ((item.square() + ids.square()) / 2 + _EPS).sqrt()
            views.append(unit_rows(torch.cat([encoder.user_preference, item])))
        return torch.stack(views)

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the ranking loss, ``bpr`` or ``softmax``, and the term ``reg``."""
        config, reps = self.config, self.represent(inputs)
        penalty = reps.user[FUSED].new_zeros(())
        for view in self.sizes.channels:
            preference = self.get_parameter(f"encoders.{view}.user_preference")
            penalty = penalty + F.embedding(batch.user, preference).square().mean()
        if config.ranking_loss == "bpr":
            ranking = {"bpr": self.adaptive_bpr(reps, batch)}
        else:
            ranking = ranking_terms(reps, batch, config)
        return {**ranking, "reg": config.reg_weight * penalty}

    def adaptive_bpr(self, reps: Representations, batch: Batch) -> Tensor:
        """Return BPR of the views, those weighed more that tell the two items apart less well.

        Args:
            reps: What :meth:`represent` gave.
            batch: The batch.
        """
        shape = (len(self.encoders), self.config.embedding_dim)
        user, pos, neg = (
            F.embedding(ids, side[FUSED]).unflatten(1, shape)
            for ids, side in zip(batch, (reps.user, reps.item, reps.item), strict=True)
        )
        pos_score, neg_score = (user * pos).sum(dim=-1), (user * neg).sum(dim=-1)  # [batch, views]
        weight = 1 - (pos_score - neg_score).detach().softmax(dim=1)
        pos_score, neg_score = ((weight * s).sum(dim=1) for s in (pos_score, neg_score))
        return bpr_loss(pos_score, neg_score, log_base=2)
