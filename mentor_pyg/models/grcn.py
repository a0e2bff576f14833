"""GRCN."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from mentor_pyg.config import AtLeastOne, AtLeastZero, Count
from mentor_pyg.data import FUSED, ID, Batch, Inputs, Representations, Sizes, edge_label_index
from mentor_pyg.graph import Adjacency
from mentor_pyg.graph.interactions import joint_edges
from mentor_pyg.models.base import FeatureConfig
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.embeddings import EmbeddingRecommender
from mentor_pyg.models.modalities import check_modalities
from mentor_pyg.models.ranking import batch_mean_squares, ranking_terms
from mentor_pyg.models.registry import register
from mentor_pyg.ops import edge_dots, propagate, propagate_layers, unit_rows
from mentor_pyg.typing import Modality

__all__ = ["GRCN", "GRCNConfig"]


@dataclass(frozen=True, kw_only=True)
class GRCNConfig(FeatureConfig):
    """Settings of :class:`GRCN`, with the defaults of the authors' public code."""

    num_layers: Count = 2
    """Layers of the ids over the refined graph."""
    num_routing: Count = 3
    """Times that users' preferences are moved towards their items."""
    latent_dim: AtLeastOne = 64
    """Width of every modality's preferences and transformed features."""
    reg_weight: AtLeastZero = 1e-5
    """Weight of the batch's squared ids and preferences; published are 1e-4 to 0.1."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""


@register
class GRCN(EmbeddingRecommender):
    r"""Interactions that the modalities do not bear out count less, or not at all.

    From `"Graph-Refined Convolutional Network for Multimedia Recommendation with Implicit
    Feedback" <https://arxiv.org/abs/2111.02036>`_. In modality :math:`m`, items are
    :math:`\mathbf{i} = \mathrm{LeakyReLU}(\mathbf{W}_m \mathbf{f}_i + \mathbf{b}_m)` and users
    learned preferences :math:`\mathbf{p}_u`, all of unit length. Preferences are routed
    ``num_routing`` times,

    .. math::
        \mathbf{p}_u \leftarrow \frac{\mathbf{p}_u + \sum_i a_{ui} \mathbf{i}}{\Vert \cdot \Vert_2},
        \qquad a_{ui} = \mathrm{softmax}_{i \in \mathcal{N}_u}\, \mathbf{p}_u \cdot \mathbf{i}

    With nodes :math:`\mathbf{n}_v` of either kind, :math:`\alpha_{vw}^m =
    \mathrm{softmax}_{w \in \mathcal{N}_v}\, \mathbf{n}_v \cdot \mathbf{n}_w`, and learned
    confidences :math:`c_{w,m}` of every node in its modalities,

    .. math::
        \mathbf{z}_{v,m} &= \mathbf{n}_v + \textstyle\sum_w \alpha_{vw}^m \mathbf{n}_w, \qquad
        \mathbf{G}_{vw} = \mathrm{ReLU}\big(\max_m c_{w,m}\, \alpha_{vw}^m\big) \\
        \mathbf{z}_{v,id} &= \textstyle\sum_{l=0}^{L} \mathbf{G}^l\,
        \mathbf{x}_v / \Vert \mathbf{x}_v \Vert_2

    Users and items are ranked by the dot product of :math:`\mathbf{z}_{id}` and all
    :math:`\mathbf{z}_m` side by side. The loss is the ranking loss and the mean squares of the
    batch's ids and preferences.

    The authors' public code routes along edges from users to items, and then takes what arrived
    at users, which is nothing: it computes what ``num_routing=0`` does. Here preferences hear
    their items, as in the paper. As in that code, confidences are not penalised.

    An item that lacks a modality is zeros there, as similar to one user as to another, and holds
    what its users give it.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings.
    """

    name = "grcn"
    Config = GRCNConfig
    config: GRCNConfig

    def __init__(self, sizes: Sizes, config: GRCNConfig | None = None) -> None:
        super().__init__(sizes, config)
        check_modalities(self)
        latent, nodes = self.config.latent_dim, self.num_users + self.num_items
        self.confidence = nn.Parameter(torch.empty(nodes, len(sizes.channels)))
        self.user_preference = nn.ParameterDict(
            {m: nn.Parameter(torch.empty(self.num_users, latent)) for m in sizes.channels}
        )
        self.projections = nn.ModuleDict(
            {m: nn.Linear(c, latent) for m, c in sizes.channels.items()}
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        reset(self.missing_features)
        tables = (self.user_embedding, self.item_embedding, *self.user_preference.values())
        for table in (*tables, self.confidence):
            nn.init.xavier_normal_(table)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()
                nn.init.xavier_normal_(module.weight)

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the interactions in both directions, and from items to users alone."""
        edge_index = edge_label_index(data, "train")
        users, items = self.num_users, self.num_items
        joint = joint_edges(edge_index, users)
        return {
            "interaction": Adjacency.from_edge_index(joint, num_nodes=users + items),
            "user": Adjacency.from_edge_index(edge_index.flip(0), num_nodes=(items, users)),
        }

    def represent(self, inputs: Inputs) -> Representations:
        """Return the views ``"fused"``, ``"id"`` over the refined graph, and every modality."""
        views, odds, totals = {}, [], []
        for modality in self.sizes.channels:
            x = self.routed(inputs, modality)
            graph, total = softmax_odds(inputs.graphs["interaction"], x, x, self.config.backend)
            views[modality] = x + propagate(graph, x, self.config.backend) / total
            odds.append(graph.weight)
            totals.append(total)
        graph = self.refined(inputs, torch.stack(odds, dim=1), torch.cat(totals, dim=1))
        ids = unit_rows(self.ids)
        ids = propagate_layers(graph, ids, self.config.num_layers, backend=self.config.backend)
        nodes = {FUSED: torch.cat([ids, *views.values()], dim=1), ID: ids, **views}
        return Representations.from_nodes(nodes, self.num_users)

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the ranking loss, ``bpr`` or ``softmax``, and the term ``reg``."""
        penalty = batch_mean_squares(self.user_embedding, self.item_embedding, batch, self.config)
        for preference in self.user_preference.values():
            penalty = penalty + F.embedding(batch.user, preference).square().mean()
        return {
            **ranking_terms(self.represent(inputs), batch, self.config),
            "reg": self.config.reg_weight * penalty,
        }

    def routed(self, inputs: Inputs, modality: Modality) -> Tensor:
        """Return a modality's users, routed, and items ``[num_users + num_items, latent_dim]``."""
        item = F.leaky_relu(self.projections[modality](inputs.features[modality]))
        if modality in inputs.present:
            item = item * inputs.present[modality].unsqueeze(-1)
        item, user = unit_rows(item), unit_rows(self.user_preference[modality])
        for _ in range(self.config.num_routing):
            graph, total = softmax_odds(inputs.graphs["user"], user, item, self.config.backend)
            user = unit_rows(user + propagate(graph, item, self.config.backend) / total)
        return torch.cat([user, item])

    def refined(self, inputs: Inputs, odds: Tensor, totals: Tensor) -> Adjacency:
        """Return the interactions as far as a modality bears them out.

        Args:
            inputs: The inputs.
            odds: The odds of every edge in every modality ``[num_edges, modalities]``.
            totals: Their sums at every node ``[num_users + num_items, modalities]``.
        """
        graph = inputs.graphs["interaction"]
        # Not by indexing, whose backward adds up in any order where there are several threads.
        weight = odds / F.embedding(graph.target, totals) * F.embedding(graph.col, self.confidence)
        return graph.with_weight(weight.max(dim=1).values.relu())


def softmax_odds(
    adjacency: Adjacency, at_target: Tensor, at_source: Tensor, backend: str
) -> tuple[Adjacency, Tensor]:
    """Return the edges weighed by a softmax of dot products over every target's neighbours.

    The softmax is left as it is before the division: exponentials as weights, and their sums
    ``[num_targets, 1]``, which a sum of messages is divided by once rather than each of them.
    Rows have at most unit length, so that nothing overflows, and targets without neighbours
    divide by one.
    """
    odds = adjacency.with_weight(edge_dots(adjacency, at_target, at_source, backend).exp())
    total = propagate(odds, at_source.new_ones(adjacency.num_sources, 1), backend)
    return odds, total.where(total > 0, 1.0)
