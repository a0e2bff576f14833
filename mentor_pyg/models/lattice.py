"""LATTICE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from mentor_pyg.config import AtLeastOne, AtLeastZero, Count, Share
from mentor_pyg.data import FUSED, ID, Batch, Inputs, Representations, Sizes, edge_label_index
from mentor_pyg.graph import Adjacency, knn_graph
from mentor_pyg.graph.interactions import joint_edges
from mentor_pyg.models.base import GraphFeatureConfig
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.embeddings import EmbeddingRecommender
from mentor_pyg.models.modalities import check_modalities, similarity_adjacency
from mentor_pyg.models.ranking import batch_penalty, ranking_terms
from mentor_pyg.models.registry import register
from mentor_pyg.nn import LayeredPropagation
from mentor_pyg.ops import edge_dots, propagate, sum_of_products, unit_rows
from mentor_pyg.transforms import ItemKNNGraph
from mentor_pyg.typing import Modality

__all__ = ["LATTICE", "LATTICEConfig"]


@dataclass(frozen=True, kw_only=True)
class LATTICEConfig(GraphFeatureConfig):
    """Settings of :class:`LATTICE`, with the published values."""

    num_layers: Count = 2
    """Layers of propagation over the interactions; 0 ranks by matrix factorisation."""
    num_item_layers: Count = 1
    """Layers of propagation over the item graph."""
    feature_dim: AtLeastOne = 64
    """Width of the transformed features, which the learned graph compares."""
    k: AtLeastOne | Mapping[Modality, AtLeastOne] = 10
    """Neighbours of every item in the item graphs, itself among them; for all modalities, or for
    each."""
    initial_weight: Share = 0.9
    """Weight of the graphs of raw features; the learned graph has the rest."""
    reg_weight: AtLeastZero = 1e-5
    """Weight of the batch's squared representations."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""


@register
class LATTICE(EmbeddingRecommender):
    r"""An item graph learned from the modalities, beside collaborative filtering.

    From `"Mining Latent Structures for Multimedia Recommendation"
    <https://arxiv.org/abs/2104.09036>`_. Raw features :math:`\mathbf{f}_i^m` are compared as they
    are and transformed; :math:`\mathrm{top}_k` keeps every item's most similar ones:

    .. math::
        \mathbf{S}^m &= \mathrm{top}_k \cos(\mathbf{f}_i^m, \mathbf{f}_j^m), \qquad
        \tilde{\mathbf{S}}^m = (\mathbf{D}^m)^{-1/2} \mathbf{S}^m (\mathbf{D}^m)^{-1/2} \\
        \mathbf{T}^m &= \mathrm{top}_k \cos(\mathbf{W}_m \mathbf{f}_i^m + \mathbf{b}_m,
        \mathbf{W}_m \mathbf{f}_j^m + \mathbf{b}_m), \qquad
        \mathbf{T} = \textstyle\sum_m \alpha_m \mathbf{T}^m, \quad
        \alpha = \mathrm{softmax}(\mathbf{w}) \\
        \mathbf{A} &= \lambda \textstyle\sum_m \alpha_m \tilde{\mathbf{S}}^m +
        (1 - \lambda) \mathbf{D}^{-1/2} \mathbf{T} \mathbf{D}^{-1/2} \\
        \hat{\mathbf{x}}_i &= \tilde{\mathbf{x}}_i + \mathbf{h}_i / \Vert \mathbf{h}_i \Vert_2,
        \qquad \mathbf{h} = \mathbf{A}^n \mathbf{x}

    where :math:`\mathbf{D}` are row sums, :math:`\mathbf{x}` the item ids and
    :math:`\tilde{\mathbf{x}}` the mean over layers of their propagation with the users'. Scores
    are dot products; the loss is the ranking loss and the squared representations of the batch.

    The pairs of :math:`\mathbf{T}` are searched by :meth:`resample`, exactly and in blocks, from
    the parameters at the start of an epoch, and kept over it. What the pairs weigh is computed at
    every step with the parameters that are then in force, with a gradient. Inputs that hold no
    pairs, such as those that validation ranks with, are searched afresh. The authors' public code
    has a gradient in the first batch of an epoch alone, and keeps that batch's graph. As
    there, :math:`\mathbf{T}` is normalised once the modalities are added up, an item is among its
    own neighbours, and the interactions are normalised by rows, every user and item being its own
    neighbour too. Other than there, raw features are not trained, the squared representations
    are divided by the size of the batch at hand, and NGCF is not among the models that the graph
    can stand beside.

    The :math:`\alpha` of an item that lacks modalities are a softmax over those that it has. It
    has no edges in the graphs of the others; an item that lacks all is ranked by its id.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings.
    """

    name = "lattice"
    Config = LATTICEConfig
    config: LATTICEConfig

    def __init__(self, sizes: Sizes, config: LATTICEConfig | None = None) -> None:
        super().__init__(sizes, config)
        check_modalities(self)
        config = self.config
        self.transforms = nn.ModuleDict(
            {m: nn.Linear(c, config.feature_dim) for m, c in sizes.channels.items()}
        )
        self.modality_weight = nn.Parameter(torch.empty(len(sizes.channels)))
        self.propagation = LayeredPropagation(
            config.num_layers, layer_readout="mean", backend=config.backend
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew; modalities start with equal weights."""
        super().reset_parameters()
        nn.init.constant_(self.modality_weight, 0.5)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()

    @classmethod
    def transform(cls, config: LATTICEConfig) -> BaseTransform:
        """Return what puts the nearest neighbours of every modality into a dataset."""
        return ItemKNNGraph(config.k)

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the interactions with loops, and every modality's graph of raw features."""
        edge_index = joint_edges(edge_label_index(data, "train"), self.num_users)
        nodes = self.num_users + self.num_items
        loops = torch.arange(nodes, device=edge_index.device).expand(2, -1)
        joint = torch.cat([edge_index, loops], dim=1)
        return {
            "interaction": Adjacency.normalized(joint, num_nodes=nodes, by="rows"),
            **{f"initial/{m}": similarity_adjacency(data, m) for m in self.sizes.channels},
        }

    @torch.no_grad()
    def resample(self, inputs: Inputs, epoch: int, generator: torch.Generator) -> Inputs:
        """Return the inputs with the neighbours that the transformed features have now."""
        return inputs.with_graphs(
            **{f"learned/{m}": self.neighbours(inputs, m) for m in self.sizes.channels}
        )

    def represent(self, inputs: Inputs) -> Representations:
        """Return the views ``"fused"`` and ``"id"``, the latter without the item graph."""
        x = self.propagation(self.ids, inputs.graphs["interaction"])
        user, item = x.split([self.num_users, self.num_items])
        fused = item + unit_rows(self.item_graph_layers(inputs))
        return Representations({FUSED: user, ID: user}, {FUSED: fused, ID: item})

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the ranking loss, ``bpr`` or ``softmax``, and the term ``reg``."""
        reps = self.represent(inputs)
        penalty = batch_penalty(reps.user[FUSED], reps.item[FUSED], batch, self.config)
        return {
            **ranking_terms(reps, batch, self.config),
            "reg": self.config.reg_weight * penalty,
        }

    # ---- the item graph -----------------------------------------------------------------------

    @torch.no_grad()
    def neighbours(self, inputs: Inputs, modality: Modality) -> Adjacency:
        """Return the most similar items by a modality's transformed features, without weights."""
        x, present = self.transforms[modality](inputs.features[modality]), inputs.present
        k, mask = self.config.k, present.get(modality)
        count = self.num_items if mask is None else int(mask.sum())
        k = min(k if isinstance(k, int) else k[modality], count)
        edge_index = torch.empty(2, 0, dtype=torch.long, device=x.device)
        if k:
            edge_index, _ = knn_graph(x, k, mask, loop=True)
        return Adjacency.from_edge_index(edge_index, num_nodes=self.num_items)

    def item_graph_layers(self, inputs: Inputs) -> Tensor:
        r"""Return :math:`\mathbf{h}`, the item ids after all layers over the item graph."""
        config, weights = self.config, self.item_modality_weight(inputs)
        learned = {m: self.learned_graph(inputs, m) for m in weights}
        ones = self.item_embedding.new_ones(self.num_items, 1)
        row_sum = _weighted_sum(learned, weights, ones, config.backend)
        positive = row_sum > 0
        scale = torch.where(positive, row_sum, 1.0).rsqrt() * positive  # [num_items, 1]
        initial = {m: inputs.graphs[f"initial/{m}"] for m in weights}
        h: Tensor = self.item_embedding
        for _ in range(config.num_item_layers):
            raw = _weighted_sum(initial, weights, h, config.backend)
            new = scale * _weighted_sum(learned, weights, scale * h, config.backend)
            h = config.initial_weight * raw + (1 - config.initial_weight) * new
        return h

    def learned_graph(self, inputs: Inputs, modality: Modality) -> Adjacency:
        """Return the cosines of transformed features, with a gradient, on the pairs that stay."""
        pairs = inputs.graphs.get(f"learned/{modality}")
        if pairs is None:
            pairs = self.neighbours(inputs, modality)
        x = unit_rows(self.transforms[modality](inputs.features[modality]))
        return pairs.with_weight(edge_dots(pairs, x, x, self.config.backend))

    def item_modality_weight(self, inputs: Inputs) -> dict[Modality, Tensor]:
        """Return every item's softmax over the modalities that it has ``[num_items, 1]``, each."""
        modalities = tuple(self.sizes.channels)
        weight = self.modality_weight[:, None].expand(-1, self.num_items)
        if inputs.present:
            every = torch.ones(self.num_items, dtype=torch.bool, device=weight.device)
            present = torch.stack([inputs.present.get(m, every) for m in modalities])
            weight = weight.masked_fill(~present, torch.finfo(weight.dtype).min)
        rows = weight.softmax(dim=0).unsqueeze(-1)
        return dict(zip(modalities, rows, strict=True))


def _weighted_sum(
    graphs: Mapping[Modality, Adjacency],
    weights: Mapping[Modality, Tensor],
    x: Tensor,
    backend: str,
) -> Tensor:
    """Return what the modalities' graphs make of ``x``, weighed item by item and added up."""
    parts = (propagate(graph, x, backend) for graph in graphs.values())
    return sum_of_products((weights[m] for m in graphs), parts)
