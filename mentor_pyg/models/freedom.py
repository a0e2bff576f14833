"""FREEDOM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset
from torch_geometric.transforms import BaseTransform

from mentor_pyg.config import AtLeastOne, AtLeastZero, Count, Share
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
from mentor_pyg.ops import propagate
from mentor_pyg.typing import Modality

__all__ = ["FREEDOM", "FREEDOMConfig"]


@dataclass(frozen=True, kw_only=True)
class FREEDOMConfig(FeatureConfig):
    """Settings of :class:`FREEDOM`; the paper chooses pruning and loss weight per dataset."""

    num_layers: Count = 2
    """Layers of propagation over the interactions."""
    num_item_layers: Count = 1
    """Times that the item graph is applied."""
    k: AtLeastOne | Mapping[Modality, AtLeastOne] = 10
    """Neighbours of every item in the item graphs, itself among them; for all modalities, or for
    each."""
    modality_weights: Mapping[Modality, AtLeastZero] | None = None
    """Weights of the item graphs in the merged one. By default 0.1 visual and 0.9 textual where
    these two are the modalities, as published, and equal weights otherwise."""
    prune_ratio: Share = 0.8
    """Share of interactions that an epoch does without; published are 0.8 and 0.9."""
    modality_loss_weight: AtLeastZero = 1e-3
    """Weight of the ranking losses of the modalities; published are 0, 1e-5, 1e-4 and 1e-3."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""

    features_need = "modality_loss_weight"


@register
class FREEDOM(EmbeddingRecommender):
    r"""LightGCN on pruned interactions, beside item ids propagated over a frozen item graph.

    From `"A Tale of Two Graphs: Freezing and Denoising Graph Structures for Multimodal
    Recommendation" <https://arxiv.org/abs/2211.06924>`_. Per modality :math:`m`,
    :math:`\mathbf{S}^m_{ij} = 1` where :math:`j` is among the :math:`k` items of the highest
    cosine with :math:`i`, :math:`i` itself among them. With the tables :math:`\mathbf{x}` and the
    normalised graph :math:`\hat{\mathbf{A}}_p` of the interactions that an epoch keeps, drawn
    with probabilities in proportion to :math:`1 / \sqrt{d_u d_i}`,

    .. math::
        \mathbf{S} = \sum_m \alpha_m \mathbf{D}_m^{-1/2} \mathbf{S}^m \mathbf{D}_m^{-1/2}, \qquad
        \hat{\mathbf{h}} = \frac{1}{L + 1} \sum_{l=0}^{L} \hat{\mathbf{A}}_p^l \mathbf{x}, \qquad
        \mathbf{h}_u = \hat{\mathbf{h}}_u, \qquad
        \mathbf{h}_i = \hat{\mathbf{h}}_i + (\mathbf{S}^{L_S} \mathbf{x}_{\mathcal{I}})_i

    .. math::
        \mathcal{L} = \mathrm{rank}(\mathbf{h}_u, \mathbf{h}_i) + \lambda \sum_m
        \mathrm{rank}(\mathbf{h}_u, \mathbf{W}_m \mathbf{f}_i^m)

    where rank is the ranking loss of the settings, BPR as published. Degrees :math:`\mathbf{D}_m`
    are row counts, :math:`k` for all items. The item graph is made once and stays; each epoch of
    training draws its interactions, and all are used to rank. Projected features are trained on
    and do not rank. A merged graph of your own in the dataset is taken as it is.

    An item that lacks a modality has its other modalities' graphs weighed up, no neighbours if it
    has none, and zeros for :math:`\mathbf{W}_m \mathbf{f}_i^m`. Users and items without
    interactions have :math:`\hat{\mathbf{h}}_n = \mathbf{x}_n / (L + 1)`.

    The public code trains the features themselves too, from the data as they start, and adds a
    bias to their projection, which the loss takes off again; here features are data, and there is
    no bias. It rounds the number of kept interactions down.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings.
    """

    name = "freedom"
    Config = FREEDOMConfig
    config: FREEDOMConfig

    def __init__(self, sizes: Sizes, config: FREEDOMConfig | None = None) -> None:
        super().__init__(sizes, config)
        check_modalities(self)
        config, dim = self.config, self.config.embedding_dim
        self.projections = nn.ModuleDict(
            {m: ModalityProjection(c, dim, bias=False) for m, c in sizes.channels.items()}
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
    def transform(cls, config: FREEDOMConfig) -> BaseTransform:
        """Return what puts the item graphs into a dataset."""
        return item_graph_transform(config)

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the graph of all interactions and that of the items."""
        return {
            "interaction": self.interaction_graph(data),
            "item": merged_item_adjacency(data, self_neighbours=True),
        }

    def resample(self, inputs: Inputs, epoch: int, generator: torch.Generator) -> Inputs:
        """Return the inputs with the graph of the interactions that the epoch keeps."""
        return pruned_inputs(inputs, self.config.prune_ratio, generator)

    def represent(self, inputs: Inputs) -> Representations:
        """Return the fused view."""
        h = self.propagation(self.ids, inputs.graphs["interaction"])
        user, item = h.split([self.num_users, self.num_items])
        semantic: Tensor = self.item_embedding
        for _ in range(self.config.num_item_layers):
            semantic = propagate(inputs.graphs["item"], semantic, self.config.backend)
        return Representations({FUSED: user}, {FUSED: item + semantic})

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the ranking loss, ``bpr`` or ``softmax``, and the term ``modality``."""
        reps = self.represent(inputs)
        modality = reps.user[FUSED].new_zeros(())
        if self.config.modality_loss_weight:
            losses = self.modality_losses(inputs, reps.user[FUSED], batch)
            modality = self.config.modality_loss_weight * sum(losses.values(), modality)
        return {**ranking_terms(reps, batch, self.config), "modality": modality}

    def modality_losses(self, inputs: Inputs, user: Tensor, batch: Batch) -> dict[Modality, Tensor]:
        """Return the ranking loss of users and the projected features of each modality.

        Args:
            inputs: The inputs.
            user: The fused view of all users ``[num_users, d]``.
            batch: The batch.
        """
        losses = {}
        for modality, projection in self.projections.items():
            item = projection(inputs.features[modality], inputs.present.get(modality))
            reps = Representations({FUSED: user}, {FUSED: item})
            [losses[modality]] = ranking_terms(reps, batch, self.config).values()
        return losses
