"""LightGCN."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import Representations
from mentor_pyg.graph import interaction_adjacency
from mentor_pyg.models.bprmf import BPRMF, BPRMFConfig
from mentor_pyg.models.config import check_at_least_zero
from mentor_pyg.nn import LayeredPropagation

__all__ = ["LightGCN", "LightGCNConfig"]


@dataclass(frozen=True, kw_only=True)
class LightGCNConfig(BPRMFConfig):
    """Settings of :class:`LightGCN`."""

    num_layers: int = 3
    """Layers of propagation."""
    backend: str = "auto"
    """How :func:`mentor_pyg.ops.propagate` runs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_zero(self, "num_layers")


class LightGCN(BPRMF):
    r"""Matrix factorisation whose tables are propagated over the interactions.

    From `"LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation"
    <https://arxiv.org/abs/2002.02126>`_: the mean of the input and all layers. The penalty is
    on the tables, before propagation.

    Args:
        num_users: The number of users.
        num_items: The number of items.
        config: The settings.
    """

    config: LightGCNConfig

    def __init__(
        self, num_users: int, num_items: int, config: LightGCNConfig | None = None
    ) -> None:
        super().__init__(num_users, num_items, config or LightGCNConfig())
        self.propagation = LayeredPropagation(
            self.config.num_layers, layer_readout="mean", backend=self.config.backend
        )

    def encode(self, data: HeteroData) -> Representations:
        """Return the propagated tables as the fused view."""
        self.check_fits(data)
        x = torch.cat([self.user_embedding, self.item_embedding])
        h = self.propagation(x, interaction_adjacency(data))
        user, item = h.split([self.num_users, self.num_items])
        return Representations({"fused": user}, {"fused": item})
