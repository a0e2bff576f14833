"""Several layers of propagation, each weighed by how close it stays to the input."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.graph import Adjacency
from mentor_pyg.nn.conv import InteractionConv
from mentor_pyg.nn.conv.weighted_sum import check_one_graph

__all__ = ["RefinedPropagation"]


class RefinedPropagation(InteractionConv):
    r"""The layer-refined graph convolutions of `"LayerGCN" <https://arxiv.org/abs/2207.11088>`_.

    .. math::
        \tilde{\mathbf{h}}^{(l)} = \hat{\mathbf{A}} \mathbf{h}^{(l-1)}, \qquad
        \mathbf{h}^{(l)}_n = \cos(\tilde{\mathbf{h}}^{(l)}_n, \mathbf{h}^{(0)}_n)\,
        \tilde{\mathbf{h}}^{(l)}_n, \qquad
        \mathbf{h} = \sum_{l=1}^{L} \mathbf{h}^{(l)}

    The input :math:`\mathbf{h}^{(0)}` is no part of the sum. Nodes without edges get zeros.

    Args:
        num_layers: The number of layers :math:`L`, 1 at least.
        backend: How :func:`mentor_pyg.ops.propagate` runs.
        **kwargs: Arguments of :class:`torch_geometric.nn.conv.MessagePassing`.

    Shapes:
        - **input:** node features :math:`(|\mathcal{V}|, F)` of one graph; an ``Adjacency`` with
          weights (the fast path), or edges as :class:`InteractionConv` takes them
        - **output:** node features :math:`(|\mathcal{V}|, F)`
    """

    def __init__(self, num_layers: int, backend: str = "auto", **kwargs: Any) -> None:
        super().__init__(backend=backend, **kwargs)
        if num_layers < 1:
            raise ValueError(
                f"'num_layers' needs to be at least 1, since the input is no part of the output "
                f"(got {num_layers})"
            )
        self.num_layers = num_layers

    def forward(  # type: ignore[override]
        self, x: Tensor, edge_index: Tensor | Adjacency, edge_weight: Tensor | None = None
    ) -> Tensor:
        """Return the sum of the refined layers."""
        h = x = check_one_graph(x, "RefinedPropagation")
        layers = []
        for _ in range(self.num_layers):
            h = super().forward(h, edge_index, edge_weight)
            h = F.cosine_similarity(h, x, dim=-1).unsqueeze(-1) * h
            layers.append(h)
        return torch.stack(layers).sum(dim=0)

    def __repr__(self) -> str:
        return f"RefinedPropagation(num_layers={self.num_layers}, backend={self.backend!r})"
