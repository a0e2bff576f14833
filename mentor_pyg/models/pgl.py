"""PGL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from mentor_pyg.config import AtLeastOne, AtLeastZero, Count, Positive, Share
from mentor_pyg.data import FUSED, Batch, Inputs, Representations, Sizes
from mentor_pyg.graph import Adjacency
from mentor_pyg.losses import info_nce
from mentor_pyg.models.base import FeatureConfig, Recommender
from mentor_pyg.models.batch_contrast import batch_users
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.item_graph import item_graph_transform, merged_item_adjacency
from mentor_pyg.models.modalities import check_modalities
from mentor_pyg.models.principal_graph import principal_adjacency
from mentor_pyg.models.pruned_inputs import pruned_inputs
from mentor_pyg.models.ranking import ranking_terms
from mentor_pyg.models.registry import register
from mentor_pyg.nn import LayeredPropagation
from mentor_pyg.ops import propagate, unit_rows
from mentor_pyg.typing import Modality

__all__ = ["PGL", "PGLConfig"]


@dataclass(frozen=True, kw_only=True)
class PGLConfig(FeatureConfig):
    """Settings of :class:`PGL`, with the values that the authors published for Baby."""

    embedding_dim: AtLeastOne = 64
    """Width of a modality; the fused view has it for each of them."""
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
    extraction: Literal["local", "global"] = "local"
    """What training propagates over. ``"local"``: some of the interactions, drawn for each epoch.
    ``"global"``: what few singular vectors make of all of them."""
    prune_ratio: Share = 0.7
    """Share of interactions that an epoch does without in ``"local"``."""
    num_singular: AtLeastOne = 32
    """Singular values that ``"global"`` takes; half the width, as in the public code."""
    num_principal: AtLeastOne = 8
    """Singular vectors that ``"global"`` is made of; a quarter of them, likewise."""
    threshold: Positive = 1e-3
    """Least weight, either sign, of an edge in ``"global"``."""
    contrast_weight: AtLeastZero = 0.05
    """Weight of the contrast; published are 0.05, 0.1 and 0.5. At 0 it is not computed."""
    temperature: Positive = 0.2
    """Temperature of the contrast."""
    drop_ratio: Share = 0.2
    """Share of entries that either side of the contrast loses; published are 0.2, 0.05 and 0.1."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_principal > self.num_singular:
            raise ValueError(
                f"'num_principal' needs to be at most 'num_singular', {self.num_singular} "
                f"(got {self.num_principal})"
            )


@register
class PGL(Recommender):
    r"""Modalities side by side, trained over a principal part of the interactions.

    From `"Mind Individual Information! Principal Graph Learning for Multimedia Recommendation"
    <https://doi.org/10.1609/aaai.v39i12.33429>`_. Users start as learned preferences
    :math:`\mathbf{p}_u` and items as mapped features of unit length, all modalities side by side:

    .. math::
        \mathbf{x}_u &= \mathbf{p}_u, \qquad
        \mathbf{x}_i = \Big\Vert_m \frac{\mathbf{W}_m \mathbf{f}_i^m + \mathbf{b}_m}
        {\lVert \mathbf{W}_m \mathbf{f}_i^m + \mathbf{b}_m \rVert}, \qquad
        \hat{\mathbf{h}} = \frac{1}{L + 1} \sum_{l=0}^{L} \tilde{\mathbf{A}}^l \mathbf{x} \\
        \mathbf{h}_u &= \hat{\mathbf{h}}_u, \qquad
        \mathbf{h}_i = \hat{\mathbf{h}}_i + (\mathbf{S}^{L_S} \mathbf{x}_{\mathcal{I}})_i

    :math:`\mathbf{S}` is the merged item graph of :class:`~mentor_pyg.models.FREEDOM`, whose row
    counts include the item itself. To rank, by dot products, :math:`\tilde{\mathbf{A}}` is the
    normalised graph of all interactions. Training has its principal part. ``"local"``: the
    normalised graph of the interactions that an epoch keeps, drawn one after another with
    probabilities in proportion to :math:`1 / \sqrt{d_u d_i}`. ``"global"``: the entries of at
    least :math:`\theta` of

    .. math::
        \tilde{\mathbf{R}} = \sum_{j=1}^{p} \sigma_j \sigma_{r - p + j} \mathbf{a}_j
        \mathbf{b}_j^\top

    both ways, with the :math:`r` largest singular values :math:`\sigma` of the normalised
    interactions (``mentor_pyg.models.principal_graph.principal_adjacency``).

    The loss is the ranking loss and a contrast of the batch's users, and of its positive items,
    with themselves, entries dropped from either side:

    .. math::
        \mathcal{L} = \mathrm{rank} + \frac{\lambda}{2} \sum_{\mathcal{N} = \mathcal{U},
        \mathcal{I}} \mathrm{mean}_{n \in \mathcal{N}} - \log \frac{\exp(\cos(\mathbf{h}'_n,
        \mathbf{h}''_n) / \tau)}{\sum_{n'} \exp(\cos(\mathbf{h}'_n, \mathbf{h}''_{n'}) / \tau)}

    Of a :class:`~mentor_pyg.data.UserBatch` every user is contrasted once. Its random numbers are
    ``"keep/user/a"``, ``"keep/user/b"``, ``"keep/item/a"`` and ``"keep/item/b"``, which entries of
    the contrasted rows are kept (bool ``[rows, modalities * d]``).

    As in the public code, :math:`\sigma_j` is multiplied by a smaller singular value, and rows that
    are twice in a batch are contrasted twice. That code looks for singular vectors of users and
    items jointly, where each value is there twice, and its solver finds one or both of the two;
    here they are those of the interactions, half as many. It trains the features too, and rounds
    the number of kept interactions down.

    An item that lacks a modality starts as zeros there, and holds what its users and, by the
    modalities that it has, its neighbours give it.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings.
    """

    name = "pgl"
    Config = PGLConfig
    config: PGLConfig

    def __init__(self, sizes: Sizes, config: PGLConfig | None = None) -> None:
        super().__init__(sizes, config)
        check_modalities(self)
        config, dim = self.config, self.config.embedding_dim
        self.user_preference = nn.Parameter(torch.empty(self.num_users, len(sizes.channels) * dim))
        self.projections = nn.ModuleDict({m: nn.Linear(c, dim) for m, c in sizes.channels.items()})
        self.propagation = LayeredPropagation(
            config.num_layers, layer_readout="mean", backend=config.backend
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew, the preferences of each modality as a table of its own."""
        super().reset_parameters()
        for table in self.user_preference.detach().split(self.config.embedding_dim, dim=1):
            nn.init.xavier_uniform_(table)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()

    @classmethod
    def transform(cls, config: PGLConfig) -> BaseTransform:
        """Return what puts the item graphs into a dataset."""
        return item_graph_transform(config)

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the graph of all interactions, that of the items, and the global one if asked."""
        config = self.config
        graphs = {
            "interaction": self.interaction_graph(data),
            "item": merged_item_adjacency(data, self_neighbours=True),
        }
        if config.extraction == "global":
            counts = config.num_singular, config.num_principal
            graphs["principal"] = principal_adjacency(data, *counts, config.threshold)
        return graphs

    def resample(self, inputs: Inputs, epoch: int, generator: torch.Generator) -> Inputs:
        """Return the inputs with the principal part in the place of all interactions."""
        if self.config.extraction == "global":
            return inputs.with_graphs(interaction=inputs.graphs["principal"])
        return pruned_inputs(inputs, self.config.prune_ratio, generator)

    def represent(self, inputs: Inputs) -> Representations:
        """Return the fused view and every modality, which are its columns."""
        items = self.item_features(inputs)
        h = self.propagation(torch.cat([self.user_preference, items]), inputs.graphs["interaction"])
        for _ in range(self.config.num_item_layers):
            items = propagate(inputs.graphs["item"], items, self.config.backend)
        user, item = h.split([self.num_users, self.num_items])
        item = item + items
        parts = [x.split(self.config.embedding_dim, dim=1) for x in (user, item)]
        views = [dict(zip(self.sizes.channels, part, strict=True)) for part in parts]
        return Representations({FUSED: user, **views[0]}, {FUSED: item, **views[1]})

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the ranking loss, ``bpr`` or ``softmax``, and the term ``contrast``."""
        config, reps = self.config, self.represent(inputs)
        contrast = reps.user[FUSED].new_zeros(())
        if config.contrast_weight:
            contrast = config.contrast_weight * self.contrast_loss(reps, batch, draws)
        return {**ranking_terms(reps, batch, config), "contrast": contrast}

    def item_features(self, inputs: Inputs) -> Tensor:
        """Return all modalities of the items side by side ``[num_items, modalities * d]``."""
        items = []
        for modality, projection in self.projections.items():
            item = unit_rows(projection(inputs.features[modality]))
            if modality in inputs.present:
                item = item * inputs.present[modality].unsqueeze(-1)
            items.append(item)
        return torch.cat(items, dim=1)

    def contrast_loss(self, reps: Representations, batch: Batch, draws: Draws) -> Tensor:
        """Return the mean over users and items of InfoNCE between rows with entries dropped."""
        config, losses = self.config, []
        sides = (("user", batch_users(batch), reps.user), ("item", batch.pos_item, reps.item))
        for name, node, table in sides:
            rows = F.embedding(node, table[FUSED])
            # The cosine does not see dropout's rescaling.
            a, b = (
                rows * draws.keep(f"keep/{name}/{side}", rows, config.drop_ratio) for side in "ab"
            )
            losses.append(info_nce(a, b, config.temperature, precision=config.precision))
        return torch.stack(losses).mean()
