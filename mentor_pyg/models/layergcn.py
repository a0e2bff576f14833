"""LayerGCN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from mentor_pyg.config import AtLeastOne, AtLeastZero, Share
from mentor_pyg.data import Inputs, Sizes
from mentor_pyg.graph import Pruning
from mentor_pyg.models.lightgcn import LightGCN, LightGCNConfig
from mentor_pyg.models.pruned_inputs import pruned_inputs
from mentor_pyg.models.registry import register
from mentor_pyg.nn import RefinedPropagation

__all__ = ["LayerGCN", "LayerGCNConfig"]


@dataclass(frozen=True, kw_only=True)
class LayerGCNConfig(LightGCNConfig):
    """Settings of :class:`LayerGCN`; the paper chooses penalty and pruning per dataset."""

    num_layers: AtLeastOne = 4
    """Layers of propagation."""
    reg_weight: AtLeastZero = 1e-3
    """Weight of the batch's squared embeddings; published are 1e-2 to 1e-5."""
    prune_ratio: Share = 0.1
    """Share of interactions that an epoch does without; published are 0, 0.1 and 0.2."""
    pruning: Literal["degree", "uniform", "alternate"] = "degree"
    """Which interactions go: ``"degree"``: those between popular nodes first. ``"uniform"``: any.
    ``"alternate"``: the one and the other in turn, as in the public code."""


@register
class LayerGCN(LightGCN):
    r"""LightGCN whose layers are refined by their similarity to the tables, on pruned interactions.

    From `"Layer-refined Graph Convolutional Networks for Recommendation"
    <https://arxiv.org/abs/2207.11088>`_. With :math:`\mathbf{x}` the two tables,
    :math:`\hat{\mathbf{A}}_p` the normalised graph of the interactions that an epoch keeps, drawn
    with probabilities in proportion to :math:`1 / \sqrt{d_u d_i}`, and
    :math:`\mathbf{h}^{(0)} = \mathbf{x}`,

    .. math::
        \tilde{\mathbf{h}}^{(l)} = \hat{\mathbf{A}}_p \mathbf{h}^{(l-1)}, \qquad
        \mathbf{h}^{(l)}_n = \cos(\tilde{\mathbf{h}}^{(l)}_n, \mathbf{x}_n)\,
        \tilde{\mathbf{h}}^{(l)}_n, \qquad
        \mathbf{h} = \sum_{l=1}^{L} \mathbf{h}^{(l)}

    .. math::
        \mathcal{L} = \frac{1}{B} \sum_{(u, i, j)} - \log \sigma(\mathbf{h}_u \cdot \mathbf{h}_i -
        \mathbf{h}_u \cdot \mathbf{h}_j) + \frac{\lambda}{2} \left( \|\mathbf{x}_u\|^2 +
        \|\mathbf{x}_i\|^2 + \|\mathbf{x}_j\|^2 \right)

    Every epoch of training draws its own graph; all interactions are used to rank. Users and
    items without interactions are zeros.

    The public code sums the loss over the batch, which Adam hardly sees; it prunes by degree in
    the first epoch and uniformly in the second, and so on in turn (``pruning="alternate"``); and
    it rounds the number of kept interactions down.

    Args:
        sizes: The numbers of users and items.
        config: The settings.
    """

    name = "layergcn"
    Config = LayerGCNConfig
    config: LayerGCNConfig

    def __init__(self, sizes: Sizes, config: LayerGCNConfig | None = None) -> None:
        super().__init__(sizes, config)
        self.propagation = RefinedPropagation(self.config.num_layers, self.config.backend)

    def resample(self, inputs: Inputs, epoch: int, generator: torch.Generator) -> Inputs:
        """Return the inputs with the graph of the interactions that the epoch keeps."""
        by: Pruning = "uniform" if epoch % 2 else "degree"
        if self.config.pruning != "alternate":
            by = self.config.pruning
        return pruned_inputs(inputs, self.config.prune_ratio, generator, by)
