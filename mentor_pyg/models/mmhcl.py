"""MMHCL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from mentor_pyg.config import AtLeastOne, AtLeastZero, Count, Positive
from mentor_pyg.data import FUSED, ID, Batch, Inputs, Representations, Sizes, edge_label_index
from mentor_pyg.graph import Adjacency
from mentor_pyg.losses import info_nce
from mentor_pyg.models.base import GraphFeatureConfig
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.embeddings import EmbeddingRecommender
from mentor_pyg.models.modalities import check_modalities, similar_items
from mentor_pyg.models.ranking import batch_penalty, ranking_terms
from mentor_pyg.models.registry import register
from mentor_pyg.nn import LayeredPropagation
from mentor_pyg.ops import propagate, unit_rows
from mentor_pyg.transforms import ItemKNNGraph
from mentor_pyg.typing import Modality

__all__ = ["MMHCL", "MMHCLConfig"]


@dataclass(frozen=True, kw_only=True)
class MMHCLConfig(GraphFeatureConfig):
    """Settings of :class:`MMHCL`, with the values of the authors' public code."""

    num_layers: Count = 2
    """Layers of propagation over the interactions; 0 ranks by matrix factorisation."""
    num_user_layers: Count = 3
    """Layers over the hypergraph of users."""
    num_item_layers: Count = 2
    """Layers over the hypergraph of items."""
    k: AtLeastOne | Mapping[Modality, AtLeastOne] = 5
    """Neighbours of every item that its hyperedges are made of, itself among them; for all
    modalities, or for each."""
    user_contrast_weight: AtLeastZero = 0.03
    """Weight of the contrast of users; at 0 it is not computed."""
    item_contrast_weight: AtLeastZero = 0.07
    """Weight of the contrast of items; at 0 it is not computed."""
    temperature: Positive = 0.6
    """Temperature of the contrast."""
    contrast: Literal["full", "batch"] = "full"
    """``"full"``: all users and items are contrasted, exactly. ``"batch"``: those of the batch,
    which is cheaper and not the same loss."""
    reg_weight: AtLeastZero = 1e-3
    """Weight of the batch's squared representations."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""


@register
class MMHCL(EmbeddingRecommender):
    r"""Hypergraphs of users and of items beside the interactions, and a contrast with each.

    From `"MMHCL: Multi-Modal Hypergraph Contrastive Learning for Recommendation"
    <https://arxiv.org/abs/2504.16576>`_. An item is a hyperedge that joins its users, :math:`1` in
    :math:`\mathbf{R}_{ui}`. Per modality :math:`m`, an item :math:`j` is also a hyperedge that
    joins the items :math:`i` among whose :math:`k` most similar ones it is, themselves among them:
    :math:`1` in :math:`\mathbf{H}^m_{ij}`. With tables :math:`\mathbf{x}` of users and items for
    the interactions and others, :math:`\mathbf{z}`, for the hypergraphs,

    .. math::
        \mathbf{U} &= \mathbf{D}_{\mathcal{U}}^{-1} \big(\mathbf{R} \mathbf{R}^\top -
        \mathrm{diag}(\mathbf{R} \mathbf{R}^\top)\big), \qquad
        \mathbf{S} = \mathbf{D}_{\mathcal{I}}^{-1/2} \big(\textstyle\sum_m
        \mathbf{H}^m {\mathbf{H}^m}^\top\big) \mathbf{D}_{\mathcal{I}}^{-1/2} \\
        \mathbf{g}_{\mathcal{U}} &= \mathbf{U}^{L_{\mathcal{U}}} \mathbf{z}_{\mathcal{U}}, \qquad
        \mathbf{g}_{\mathcal{I}} = \mathbf{S}^{L_{\mathcal{I}}} \mathbf{z}_{\mathcal{I}}, \qquad
        \mathbf{h}_n = \Big(\frac{1}{L + 1} \sum_{l=0}^{L} \hat{\mathbf{A}}^l \mathbf{x}\Big)_n +
        \frac{\mathbf{g}_n}{\Vert \mathbf{g}_n \Vert}

    where :math:`\mathbf{D}` are the row sums of what they normalise. The products of incidence
    matrices are never formed: a layer goes from nodes to hyperedges and back. Scores are dot
    products of :math:`\mathbf{h}`. The loss is the ranking loss, the squared representations of
    the batch and, over all users and over all items, each with a weight of its own,

    .. math::
        \frac{1}{N} \sum_n - \log \frac{\exp(\cos(\mathbf{h}_n, \mathbf{g}_n) / \tau)}
        {\sum_j \exp(\cos(\mathbf{h}_n, \mathbf{g}_j) / \tau) +
        \sum_{j \ne n} \exp(\cos(\mathbf{h}_n, \mathbf{h}_j) / \tau)}

    exactly, in memory that grows with :math:`N d` (:func:`~mentor_pyg.losses.info_nce` with
    ``intra_view``).

    All this is what the authors' public code computes on features that all items have. Other than
    there, nearest neighbours of a negative cosine count as others do, a hypergraph whose contrast
    weighs nothing still ranks (``num_item_layers=0`` leaves its edges out), the squared
    representations are divided by the size of the batch at hand, not by the nominal one, and NGCF
    is not among the models that the hypergraphs can stand beside.

    An item that lacks a modality is in no hyperedge of it, and is none. An item that lacks all,
    and a user who shares no item with anybody, have :math:`\mathbf{g}_n = 0` and are ranked by
    their interactions.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings.
    """

    name = "mmhcl"
    Config = MMHCLConfig
    config: MMHCLConfig

    def __init__(self, sizes: Sizes, config: MMHCLConfig | None = None) -> None:
        super().__init__(sizes, config)
        check_modalities(self)
        config, dim = self.config, self.config.embedding_dim
        self.user_hypergraph_embedding = nn.Parameter(torch.empty(self.num_users, dim))
        self.item_hypergraph_embedding = nn.Parameter(torch.empty(self.num_items, dim))
        self.propagation = LayeredPropagation(
            config.num_layers, layer_readout="mean", backend=config.backend
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for table in self.parameters():
            nn.init.xavier_uniform_(table)

    @property
    def has_static_shapes(self) -> bool:
        """Whether all users and items are contrasted, rather than those that a batch holds."""
        config = self.config
        weight = config.user_contrast_weight + config.item_contrast_weight
        return config.contrast == "full" or not weight

    @classmethod
    def transform(cls, config: MMHCLConfig) -> BaseTransform:
        """Return what puts the nearest neighbours of every modality into a dataset."""
        return ItemKNNGraph(config.k)

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the interactions, and users and items beside their hyperedges."""
        edge_index = edge_label_index(data, "train")
        users, items = self.num_users, self.num_items
        return {
            "interaction": self.interaction_graph(data),
            "hyperedge/user": Adjacency.from_edge_index(
                edge_index,
                torch.ones(edge_index.size(1), device=edge_index.device),
                num_nodes=(users, items),
            ),
            "user": self.user_incidence(edge_index),
            "item": self.item_incidence(data),
        }

    def user_incidence(self, edge_index: Tensor) -> Adjacency:
        r"""Return :math:`\mathbf{D}_{\mathcal{U}}^{-1} \mathbf{R}`.

        Args:
            edge_index: The interactions ``[2, num_interactions]`` of (user, item).
        """
        user, item = edge_index
        others = torch.bincount(item, minlength=self.num_items)[item] - 1
        row_sum = others.new_zeros(self.num_users).index_add(0, user, others)
        weight = torch.where(row_sum > 0, row_sum.float().reciprocal(), 0.0)[user]
        sizes = (self.num_items, self.num_users)
        return Adjacency.from_edge_index(edge_index.flip(0), weight, num_nodes=sizes)

    def item_incidence(self, data: HeteroData) -> Adjacency:
        r"""Return :math:`\mathbf{D}_{\mathcal{I}}^{-1/2} [\mathbf{H}^1 \Vert \mathbf{H}^2 \cdots]`.

        Its product with its own transpose is :math:`\mathbf{S}`.
        """
        items, found = self.num_items, []
        for number, modality in enumerate(self.sizes.channels):
            neighbour, item = similar_items(data, modality)[0]
            found.append(torch.stack([neighbour + number * items, item]))
        edge_index = torch.cat(found, dim=1)
        hyperedge, item = edge_index
        size = torch.bincount(hyperedge, minlength=len(found) * items)[hyperedge]
        row_sum = size.new_zeros(items).index_add(0, item, size)
        weight = row_sum[item].float().rsqrt()
        return Adjacency.from_edge_index(edge_index, weight, num_nodes=(len(found) * items, items))

    def represent(self, inputs: Inputs) -> Representations:
        """Return the views ``"fused"``, ``"id"`` (interactions) and ``"hypergraph"``."""
        behaviour = self.propagation(self.ids, inputs.graphs["interaction"])
        hypergraph = torch.cat([self.user_layers(inputs), self.item_layers(inputs)])
        fused = behaviour + unit_rows(hypergraph)
        nodes = {FUSED: fused, ID: behaviour, "hypergraph": hypergraph}
        return Representations.from_nodes(nodes, self.num_users)

    def user_layers(self, inputs: Inputs) -> Tensor:
        r"""Return :math:`\mathbf{g}_{\mathcal{U}}` ``[num_users, d]``."""
        x: Tensor = self.user_hypergraph_embedding
        config = self.config
        to_users, to_items = inputs.graphs["user"], inputs.graphs["hyperedge/user"]
        own = propagate(to_users, x.new_ones(self.num_items, 1), config.backend)
        for _ in range(config.num_user_layers):
            members = propagate(to_items, x, config.backend)
            x = propagate(to_users, members, config.backend) - own * x
        return x

    def item_layers(self, inputs: Inputs) -> Tensor:
        r"""Return :math:`\mathbf{g}_{\mathcal{I}}` ``[num_items, d]``."""
        x: Tensor = self.item_hypergraph_embedding
        config = self.config
        to_items = inputs.graphs["item"]
        for _ in range(config.num_item_layers):
            members = propagate(to_items.transposed, x, config.backend)
            x = propagate(to_items, members, config.backend)
        return x

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return ``bpr`` or ``softmax``, ``user_contrast``, ``item_contrast`` and ``reg``."""
        config, reps = self.config, self.represent(inputs)
        penalty = batch_penalty(reps.user[FUSED], reps.item[FUSED], batch, config)
        terms = ranking_terms(reps, batch, config)
        for name, weight, side, rows in (
            ("user_contrast", config.user_contrast_weight, reps.user, batch.user),
            ("item_contrast", config.item_contrast_weight, reps.item, batch.pos_item),
        ):
            terms[name] = penalty.new_zeros(())
            if weight:
                terms[name] = weight * self.contrast_loss(side, rows)
        return {**terms, "reg": config.reg_weight * penalty}

    def contrast_loss(self, side: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        """Return the contrast of the fused view with the hypergraph's, each row once.

        Args:
            side: The views of users or of items.
            rows: Those of the batch, which alone are contrasted where the settings say so.
        """
        config, views = self.config, (side[FUSED], side["hypergraph"])
        if config.contrast == "batch":
            rows = rows.unique()
            views = (F.embedding(rows, views[0]), F.embedding(rows, views[1]))
        return info_nce(*views, config.temperature, precision=config.precision, intra_view=True)
