"""GUME."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from mentor_pyg.config import AtLeastOne, AtLeastZero, Count, Positive
from mentor_pyg.data import FUSED, Batch, Inputs, Representations, Sizes, edge_label_index
from mentor_pyg.graph import Adjacency, common_edges, interaction_adjacency
from mentor_pyg.losses import gaussian_alignment_loss, info_nce, moments
from mentor_pyg.models.base import GraphFeatureConfig
from mentor_pyg.models.batch_contrast import batch_users
from mentor_pyg.models.behaviour import PurifiedRecommender
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.modalities import similarity_adjacency
from mentor_pyg.models.ranking import batch_penalty, ranking_terms
from mentor_pyg.models.registry import register
from mentor_pyg.ops import add_noise, nonzero_rows
from mentor_pyg.typing import Modality

__all__ = ["GUME", "GUMEConfig"]


@dataclass(frozen=True, kw_only=True)
class GUMEConfig(GraphFeatureConfig):
    """Settings of :class:`GUME`, with the values of the authors' public code for Baby."""

    num_layers: Count = 3
    """Layers of propagation over the interactions and the items alike."""
    num_item_layers: Count = 2
    """Layers of propagation over the item graphs; 1 on the other datasets."""
    k: AtLeastOne | Mapping[Modality, AtLeastOne] = 10
    """Neighbours of every item in the item graphs, itself among them; for all modalities, or for
    each."""
    align_weight: AtLeastZero = 0.1
    """Weight of the alignment of modalities; published are 1e-3 to 0.1. At 0 it is not computed."""
    contrast_weight: AtLeastZero = 0.01
    """Weight of the contrast between behaviour and modalities; at 0 it is not computed."""
    temperature: Positive = 0.4
    """Temperature of that contrast; published are 0.2 and 0.4."""
    user_contrast_weight: AtLeastZero = 0.01
    """Weight of the contrasts of users' modalities; published are 0.01 and 0.1. At 0 they are not
    computed."""
    user_temperature: Positive = 0.1
    """Temperature of the contrasts of users' modalities; published are 0.1 and 0.2."""
    noise_scale: AtLeastZero = 0.1
    """Length of the noise that two views of a user differ by."""
    reg_weight: AtLeastZero = 1e-5
    """Weight of the batch's squared representations."""
    extended_reg_weight: AtLeastZero = 0.1
    """Weight of the squared extended modalities of the batch's positive items."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""


@register
class GUME(PurifiedRecommender):
    r"""Items that all modalities find alike joined to the interactions, and two views of users.

    From `"GUME: Graphs and User Modalities Enhancement for Long-Tail Multimodal Recommendation"
    <https://arxiv.org/abs/2407.12338>`_. Beside the interactions, the graph :math:`\mathbf{A}`
    has an edge into item :math:`i` from each other item that is among its :math:`k` nearest
    neighbours in every modality; :math:`\hat{\mathbf{A}} = \mathbf{D}^{-1/2} \mathbf{A}
    \mathbf{D}^{-1/2}` with its row sums, and :math:`\hat{\mathbf{R}}` is its block from items to
    users. With the ids :math:`\mathbf{x}`, their :math:`\dot{\mathbf{h}}_{\mathcal{I}, m}` gated
    by features, the item graphs :math:`\mathbf{S}_m` and the fusion of MGCN
    (:class:`~mentor_pyg.nn.PurifiedViews`, :class:`~mentor_pyg.nn.BehaviourAwareFusion`), and a
    table :math:`\mathbf{p}` of users,

    .. math::
        \mathbf{h}_{id} &= \tfrac{1}{L + 1} \textstyle\sum_l \hat{\mathbf{A}}^l \mathbf{x}, \qquad
        \mathbf{h}_{\mathcal{I}, m} = \mathbf{S}_m^n \dot{\mathbf{h}}_{\mathcal{I}, m}, \qquad
        \mathbf{h}_{\mathcal{U}, m} = \hat{\mathbf{R}} \mathbf{h}_{\mathcal{I}, m} \\
        \mathbf{s} &= \mathrm{fuse}(\mathbf{h}_1, \mathbf{h}_2, \dots; \mathbf{h}_{id}), \qquad
        \mathbf{e} = \tfrac{1}{L + 1} \textstyle\sum_l \hat{\mathbf{A}}^l
        [\mathbf{p} ; \mathrm{mean}_m\, \mathbf{h}_{\mathcal{I}, m}]

    Users and items are ranked by the dot product of :math:`\mathbf{h}_{id} + \mathbf{s}`. With
    InfoNCE :math:`\mathcal{C}_\tau`, users :math:`\mathcal{B}` and positive items
    :math:`\mathcal{P}` of the batch, and :math:`\mathbf{x}'`, :math:`\mathbf{x}''` with noise of
    the length ``noise_scale`` that keeps every entry's sign, the loss is the ranking loss, the
    squared representations, and weights times

    .. math::
        \mathcal{L}_{align} &= \textstyle\sum_{m < n} |\mathrm{mean}\, \mathbf{h}_m -
        \mathrm{mean}\, \mathbf{h}_n| + |\mathrm{var}\, \mathbf{h}_m - \mathrm{var}\, \mathbf{h}_n|
        \\ \mathcal{L}_{contrast} &= \mathcal{C}_\tau(\mathbf{s}_\mathcal{B},
        \mathbf{h}_{\mathcal{B}, id}) + \mathcal{C}_\tau(\mathbf{s}_\mathcal{P},
        \mathbf{h}_{\mathcal{P}, id}) \\
        \mathcal{L}_{user} &= \mathcal{C}_{\tau'}(\mathbf{e}_\mathcal{B}, \mathbf{s}_\mathcal{B}) +
        \mathcal{C}_{\tau'}(\mathbf{s}'_\mathcal{B}, \mathbf{s}''_\mathcal{B}) +
        \mathcal{C}_{\tau'}(\mathbf{e}'_\mathcal{B}, \mathbf{e}''_\mathcal{B}) \\
        \mathcal{L}_{extended} &= \tfrac{1}{2 |\mathcal{P}|}
        \textstyle\sum_{i \in \mathcal{P}} \lVert \mathbf{e}_i \rVert^2

    with one mean and variance over all entries. Of a :class:`~mentor_pyg.data.UserBatch` every
    user is contrasted once.

    The random numbers are the draws ``"noise/<view>/a"`` and ``"noise/<view>/b"`` for the views
    ``fused``, of :math:`\mathbf{s}`, and ``extended`` (``[users, d]``).

    The authors' public code has a table :math:`\mathbf{p}_m` for each modality and propagates each;
    only their mean is read, which is what is kept here, drawn as such a mean. Its raw features are
    trained; its squares are divided by the nominal size of a batch; its noise is drawn for all
    users, so that a user who is twice in a batch has the same noise there.

    An item's common neighbours are those in all modalities that it has. An item that lacks a
    modality, and a user none of whose items has it, hold zeros in that view, which takes no part in
    fusion, in the mean over modalities or in the alignment.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings.
    """

    name = "gume"
    Config = GUMEConfig
    config: GUMEConfig

    def __init__(self, sizes: Sizes, config: GUMEConfig | None = None) -> None:
        super().__init__(sizes, config)
        dim = self.config.embedding_dim
        self.extended_user = nn.Parameter(torch.empty(self.num_users, dim))
        self.reset_parameters()

    @torch.no_grad()
    def reset_tables(self) -> None:
        """Draw the tables anew, the extended users as the mean of one for each modality."""
        super().reset_tables()
        tables = torch.stack([torch.empty_like(self.extended_user)] * len(self.sizes.channels))
        for table in tables:
            nn.init.xavier_uniform_(table)
        self.extended_user.copy_(tables.mean(dim=0))

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return interactions and common neighbours, a block of them, and a graph per modality."""
        users, items = self.num_users, self.num_items
        similar = {m: similarity_adjacency(data, m) for m in self.sizes.channels}
        common = common_edges([*similar.values()])
        joint = interaction_adjacency(edge_label_index(data, "train"), users, items, common)
        end = int(joint.rowptr[users])
        of_users = (joint.rowptr[: users + 1], joint.col[:end] - users, joint.weight[:end])
        return {
            "interaction": joint,
            "user": Adjacency(*of_users, num_sources=items),
            **{f"item/{m}": graph for m, graph in similar.items()},
        }

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the weighted terms.

        They are the ranking loss, ``bpr`` or ``softmax``, ``align``, ``contrast``,
        ``user_contrast``, ``reg`` and ``extended_reg``.
        """
        config = self.config
        behaviour, views = self.behaviour(inputs), self.modality_views(inputs)
        side = self.fusion(views, behaviour)
        reps = Representations.from_nodes({FUSED: behaviour + side}, self.num_users)
        align = contrast = user_contrast = extended_reg = side.new_zeros(())
        if config.align_weight:
            align = config.align_weight * self.alignment_loss(views)
        if config.contrast_weight:
            contrast = config.contrast_weight * self.contrast_loss(side, behaviour, batch)
        if config.user_contrast_weight or config.extended_reg_weight:
            sizes = [self.num_users, self.num_items]
            extended = self.extended(inputs, views).split(sizes)
            squares = F.embedding(batch.pos_item, extended[1]).square().sum()
            extended_reg = config.extended_reg_weight * squares / (2 * batch.pos_item.numel())
            if config.user_contrast_weight:
                user = side[: self.num_users]
                loss = self.user_contrast_loss(user, extended[0], batch, draws)
                user_contrast = config.user_contrast_weight * loss
        penalty = batch_penalty(reps.user[FUSED], reps.item[FUSED], batch, config)
        return {
            **ranking_terms(reps, batch, config),
            "align": align,
            "contrast": contrast,
            "user_contrast": user_contrast,
            "reg": config.reg_weight * penalty,
            "extended_reg": extended_reg,
        }

    def extended(self, inputs: Inputs, views: Tensor) -> Tensor:
        r"""Return :math:`\mathbf{e}`, the extended modalities of users and items.

        Args:
            inputs: The inputs.
            views: What ``modality_views`` gave.
        """
        items = views[:, self.num_users :]
        held = nonzero_rows(items).sum(dim=0)
        nodes = torch.cat([self.extended_user, items.sum(dim=0) / held.clamp(min=1)])
        out: Tensor = self.propagation(nodes, inputs.graphs["interaction"])
        return out

    def alignment_loss(self, views: Tensor) -> Tensor:
        """Return how far the means and variances of modalities are apart, over all pairs.

        Args:
            views: What ``modality_views`` gave; rows of zeros take no part.
        """
        summaries = [moments(x, "scalar", mask=nonzero_rows(x).squeeze(-1)) for x in views]
        losses = [gaussian_alignment_loss(a, b) for a, b in itertools.combinations(summaries, 2)]
        return torch.stack(losses).sum() if losses else views.new_zeros(())

    def user_contrast_loss(
        self, side: Tensor, extended: Tensor, batch: Batch, draws: Draws
    ) -> Tensor:
        """Return the contrast of two views of users, and of each with itself, noise apart.

        Args:
            side: The fused modalities of users ``[num_users, d]``.
            extended: Their extended modalities ``[num_users, d]``.
            batch: The batch.
            draws: Where the noise comes from.
        """
        config, user = self.config, batch_users(batch)
        rows = {FUSED: F.embedding(user, side), "extended": F.embedding(user, extended)}
        pairs = [(rows["extended"], rows[FUSED])]
        for name, x in rows.items():
            noise = [draws.noise(f"noise/{name}/{view}", config.noise_scale) for view in "ab"]
            pairs.append((add_noise(x, noise[0]), add_noise(x, noise[1])))
        losses = [
            info_nce(a, b, config.user_temperature, precision=config.precision) for a, b in pairs
        ]
        return torch.stack(losses).sum()
