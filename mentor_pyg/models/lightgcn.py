"""LightGCN."""

from __future__ import annotations

from dataclasses import dataclass

from torch_geometric.data import HeteroData

from mentor_pyg.config import Count
from mentor_pyg.data import FUSED, Inputs, Representations, Sizes
from mentor_pyg.graph import Adjacency
from mentor_pyg.models.bprmf import BPRMF, BPRMFConfig
from mentor_pyg.models.registry import register
from mentor_pyg.nn import InteractionConv, LayeredPropagation

__all__ = ["LightGCN", "LightGCNConfig"]


@dataclass(frozen=True, kw_only=True)
class LightGCNConfig(BPRMFConfig):
    """Settings of :class:`LightGCN`."""

    num_layers: Count = 3
    """Layers of propagation."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""


@register
class LightGCN(BPRMF):
    r"""Matrix factorisation whose tables are propagated over the interactions.

    From `"LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation"
    <https://arxiv.org/abs/2002.02126>`_: the mean of the input and all layers. The penalty is
    on the tables, before propagation.

    Args:
        sizes: The numbers of users and items.
        config: The settings.
    """

    name = "lightgcn"
    Config = LightGCNConfig
    config: LightGCNConfig

    def __init__(self, sizes: Sizes, config: LightGCNConfig | None = None) -> None:
        super().__init__(sizes, config)
        self.propagation: InteractionConv = LayeredPropagation(
            self.config.num_layers, layer_readout="mean", backend=self.config.backend
        )

    def graphs(self, data: HeteroData) -> dict[str, Adjacency]:
        """Return the graph of the interactions."""
        return {"interaction": self.interaction_graph(data)}

    def represent(self, inputs: Inputs) -> Representations:
        """Return the propagated tables as the fused view."""
        h = self.propagation(self.ids, inputs.graphs["interaction"])
        user, item = h.split([self.num_users, self.num_items])
        return Representations({FUSED: user}, {FUSED: item})
