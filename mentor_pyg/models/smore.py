"""SMORE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from mentor_pyg.config import AtLeastOne, AtLeastZero, Count, Positive, Share
from mentor_pyg.data import FUSED, ID, Batch, Inputs, Representations, Sizes
from mentor_pyg.graph import Adjacency, pool_item_graphs
from mentor_pyg.models.base import FeatureConfig
from mentor_pyg.models.behaviour import BehaviourRecommender
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.modalities import similarity_adjacency
from mentor_pyg.models.registry import register
from mentor_pyg.ops import propagate, sum_of_products
from mentor_pyg.typing import Modality, View

__all__ = ["SMORE", "SMOREConfig"]


@dataclass(frozen=True, kw_only=True)
class SMOREConfig(FeatureConfig):
    """Settings of :class:`SMORE`, with published values: of most data, but for ``k`` of images."""

    num_layers: Count = 3
    """Layers of propagation over the interactions; published are 3 and 4."""
    num_item_layers: Count = 1
    """Layers of propagation over the item graphs."""
    k: AtLeastOne | Mapping[Modality, AtLeastOne] = 10
    """Neighbours of every item in the item graphs, itself among them; for all modalities, or for
    each. Published are 40, 10 and 40 visual ones and 15, 10 and 10 textual ones."""
    contrast_weight: AtLeastZero = 0.01
    """Weight of the contrast between behaviour and modalities; published are 0.01 and 0.03. At 0
    it is not computed."""
    temperature: Positive = 0.2
    """Temperature of the contrast."""
    drop_ratio: Share = 0.0
    """Share of entries of the preferences that training drops; published are 0 and 0.1."""
    reg_weight: AtLeastZero = 1e-4
    """Weight of the batch's squared representations; published are 1e-4 and 1e-5."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""


@register
class SMORE(BehaviourRecommender):
    r"""Modalities filtered and fused as spectra, and weighed by what behaviour prefers.

    From `"Spectrum-based Modality Representation Fusion Graph Convolutional Network for Multimodal
    Recommendation" <https://arxiv.org/abs/2412.14978>`_. Projected features are taken to their
    spectra by the Fourier transform :math:`\mathcal{F}` of every row's :math:`d` entries, of
    unit norm. Beside the modalities :math:`m`, each with a complex filter
    :math:`\mathbf{w}_m`, there is a fused view :math:`f` of the product of all spectra:

    .. math::
        \hat{\mathbf{f}}_m &= \mathcal{F}(\mathbf{W}_m \mathbf{f}_m + \mathbf{b}_m), \qquad
        \dot{\mathbf{f}}_m = \mathcal{F}^{-1}(\mathbf{w}_m \odot \hat{\mathbf{f}}_m), \qquad
        \dot{\mathbf{f}}_f = \mathcal{F}^{-1}(\mathbf{w}_f \odot \textstyle\bigodot_m
        \hat{\mathbf{f}}_m) \\
        \dot{\mathbf{E}}_v &= \mathbf{E}_{i,id} \odot \sigma(\mathbf{G}_v \dot{\mathbf{f}}_v +
        \mathbf{g}_v), \qquad v \in \mathcal{M} \cup \{f\} \\
        \bar{\mathbf{E}}_{i,v} &= \mathbf{S}_v^n \dot{\mathbf{E}}_v, \qquad
        \bar{\mathbf{E}}_{u,v} = \hat{\mathbf{R}} \bar{\mathbf{E}}_{i,v}, \qquad
        (\mathbf{S}_f)_{ij} = \max_m\, (\mathbf{S}_m)_{ij} \\
        \bar{\mathbf{E}}_{id} &= \tfrac{1}{L + 1} \textstyle\sum_l
        \hat{\mathbf{A}}^l \mathbf{E}_{id}, \qquad
        \mathbf{p}_v = \mathrm{drop}\, \sigma(\mathbf{K}_v \bar{\mathbf{E}}_{id} + \mathbf{k}_v) \\
        \mathbf{E}_s &= \tfrac{1}{|\mathcal{M}| + 1} \Big(\mathbf{p}_f \odot \bar{\mathbf{E}}_f +
        \textstyle\sum_m \mathbf{p}_m \odot \mathrm{softmax}\big(\mathbf{Q}_m \tanh(\mathbf{P}_m
        \bar{\mathbf{E}}_f + \mathbf{q}_m)\big) \odot \bar{\mathbf{E}}_m\Big)

    where the maximum is over the modalities that have the edge, and the softmax over the
    :math:`d` columns of a row. Users and items are ranked by the dot product of
    :math:`\bar{\mathbf{E}}_{id} + \mathbf{E}_s`. The loss is the ranking loss, InfoNCE of
    :math:`\mathbf{E}_s` against :math:`\bar{\mathbf{E}}_{id}` over the users and over the positive
    items of the batch, and the squared representations of the batch. :math:`\hat{\mathbf{A}}` is
    the normalised graph of the interactions, :math:`\hat{\mathbf{R}}` its block from items to
    users; for :math:`\mathbf{S}_m` see
    ``mentor_pyg.models.modalities.similarity_adjacency``.

    Its random numbers are ``"keep/<modality>"`` and ``"keep/fused"``, which entries of the
    preferences are kept (bool ``[num_users + num_items, d]``), where any are dropped.

    All this is what the authors' public code computes, the softmax over columns and the contrast
    within the batch too. Other than there, raw features are not trained, and the squared
    representations are divided by the size of the batch at hand, not by the nominal one. Of a
    :class:`~mentor_pyg.data.UserBatch` every user is contrasted once. That code is for two
    modalities; of one alone, the fused view is the same spectrum with another filter.

    An item that lacks a modality holds zeros in that view, before propagation, and has no edges in
    its graph; the product of spectra is that of the modalities that it has. An item that lacks
    all, and a user none of whose items has any, are ranked by behaviour.

    Args:
        sizes: The numbers of users and items, and the widths of the item features.
        config: The settings.
    """

    name = "smore"
    Config = SMOREConfig
    config: SMOREConfig

    def __init__(self, sizes: Sizes, config: SMOREConfig | None = None) -> None:
        super().__init__(sizes, config)
        views, dim = self.views, self.config.embedding_dim
        self.projections = nn.ModuleDict({m: nn.Linear(c, dim) for m, c in sizes.channels.items()})
        # Real and imaginary parts of every view's filter.
        self.filters = nn.Parameter(torch.empty(len(views), dim // 2 + 1, 2))
        self.gates = nn.ModuleDict({v: nn.Linear(dim, dim) for v in views})
        self.queries = nn.ModuleDict(
            {
                m: nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, dim, bias=False))
                for m in sizes.channels
            }
        )
        self.preferences = nn.ModuleDict({v: nn.Linear(dim, dim) for v in views})
        self.reset_parameters()

    @property
    def views(self) -> tuple[View, ...]:
        """The modalities, and the fused view last."""
        return (*self.sizes.channels, FUSED)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        nn.init.normal_(self.filters)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the interactions, their block from items to users, and a graph per view."""
        graphs = {m: similarity_adjacency(data, m) for m in self.sizes.channels}
        graphs[FUSED] = pool_item_graphs(graphs.values())
        items = {f"item/{view}": graph for view, graph in graphs.items()}
        return {**super().graphs(data), **items}

    def represent(self, inputs: Inputs) -> Representations:
        """Return the views ``"fused"``, ``"id"`` (behaviour) and every modality."""
        behaviour, views = self.behaviour(inputs), self.item_graph_views(inputs)
        nodes = {**views, ID: behaviour, FUSED: behaviour + self.side(views, behaviour)}
        return Representations.from_nodes(nodes, self.num_users)

    def terms(self, inputs: Inputs, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Return the ranking loss, ``bpr`` or ``softmax``, ``contrast`` and ``reg``."""
        behaviour = self.behaviour(inputs)
        side = self.side(self.item_graph_views(inputs), behaviour, draws)
        return self.terms_of(side, behaviour, batch)

    def item_graph_views(self, inputs: Inputs) -> dict[View, Tensor]:
        """Return every view's users and items ``[num_users + num_items, d]``; here fused is f."""
        views, config = {}, self.config
        present = self.presence(inputs)
        for view, filtered in self.filtered_features(inputs).items():
            items = self.item_embedding * self.gates[view](filtered).sigmoid()
            if view in present:
                items = items * present[view].unsqueeze(-1)
            for _ in range(config.num_item_layers):
                items = propagate(inputs.graphs[f"item/{view}"], items, config.backend)
            users = propagate(inputs.graphs["user"], items, config.backend)
            views[view] = torch.cat([users, items])
        return views

    def presence(self, inputs: Inputs) -> dict[View, Tensor]:
        """Return which items have something in a view, for those that some items may lack."""
        present = dict(inputs.present)
        if len(present) == len(self.sizes.channels):
            present[FUSED] = torch.stack([*present.values()]).any(dim=0)
        return present

    def filtered_features(self, inputs: Inputs) -> dict[View, Tensor]:
        """Return what the filters leave of every view's spectrum, as rows ``[num_items, d]``."""
        spectra: dict[View, Tensor] = {}
        factors = []
        for modality, projection in self.projections.items():
            spectrum = torch.fft.rfft(projection(inputs.features[modality]), norm="ortho")
            spectra[modality] = spectrum
            if modality in inputs.present:
                spectrum = torch.where(inputs.present[modality].unsqueeze(-1), spectrum, 1.0)
            factors.append(spectrum)
        spectra[FUSED] = reduce(torch.mul, factors)
        filters, dim = torch.view_as_complex(self.filters), self.config.embedding_dim
        return {
            view: torch.fft.irfft(spectrum * weight, n=dim, norm="ortho")
            for (view, spectrum), weight in zip(spectra.items(), filters, strict=True)
        }

    def side(
        self, views: Mapping[View, Tensor], behaviour: Tensor, draws: Draws | None = None
    ) -> Tensor:
        r"""Return :math:`\mathbf{E}_s`, what the modalities add ``[num_users + num_items, d]``.

        Args:
            views: What :meth:`item_graph_views` gave.
            behaviour: The ids propagated.
            draws: Where the entries that are dropped come from; none are, without.
        """
        ratio, preferences, parts = self.config.drop_ratio, [], []
        for view, gate in self.preferences.items():
            preference = gate(behaviour).sigmoid()
            if draws is not None and ratio:
                keep = draws.keep(f"keep/{view}", preference, ratio)
                preference = preference * (keep / (1 - ratio))
            x = views[view]
            if view != FUSED:
                x = self.queries[view](views[FUSED]).softmax(dim=-1) * x
            preferences.append(preference)
            parts.append(x)
        return sum_of_products(preferences, parts) / len(parts)
