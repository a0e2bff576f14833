"""Propagation over the item-item semantic graph."""

from typing import Any

from torch import Tensor

from mentor_pyg.graph import Adjacency, normalize_rows
from mentor_pyg.nn.conv.weighted_sum import WeightedSumConv, check_one_graph
from mentor_pyg.ops import propagate_layers

__all__ = ["ItemSemanticConv"]


class ItemSemanticConv(WeightedSumConv):
    r"""Add to every item what its semantic neighbours hold.

    .. math::
        \mathbf{h}^{\prime} = \mathbf{h} + \mathbf{S}^{n} \mathbf{h}

    as in `"Mining Latent Structures for Multimedia Recommendation"
    <https://arxiv.org/abs/2104.09036>`_. Without edge weights, :math:`\mathbf{S}` averages over
    an item's neighbours. Items without neighbours keep what they have.

    Args:
        num_layers: The number of times :math:`n` that :math:`\mathbf{S}` is applied; 0 gives the
            input back.
        backend: How :func:`mentor_pyg.ops.propagate` runs where the graph is an
            :class:`~mentor_pyg.graph.Adjacency` or a column-sorted ``EdgeIndex``.
        **kwargs: Arguments of :class:`torch_geometric.nn.conv.MessagePassing`.

    Shapes:
        - **input:** item features :math:`(|\mathcal{I}|, F)`; edges from neighbour to item
          :math:`(2, |\mathcal{E}|)`, an ``EdgeIndex`` or an ``Adjacency`` with weights, as
          ``Adjacency.normalized(..., by="rows")`` gives it; edge weights
          :math:`(|\mathcal{E}|)` *(optional)*
        - **output:** item features :math:`(|\mathcal{I}|, F)`
    """

    def __init__(self, num_layers: int = 1, backend: str = "auto", **kwargs: Any) -> None:
        super().__init__(backend=backend, **kwargs)
        if num_layers < 0:
            raise ValueError(f"'num_layers' needs to be at least 0 (got {num_layers})")
        self.num_layers = num_layers

    def normalize(self, edge_index: Tensor, size: tuple[int, int]) -> Tensor:
        """Return weights ``[num_edges]`` that average over neighbours."""
        return normalize_rows(edge_index, size[1])

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor | Adjacency,
        edge_weight: Tensor | None = None,
    ) -> Tensor:
        """Return the items with their neighbours added."""
        x = check_one_graph(x, "ItemSemanticConv")
        if self.num_layers == 0:
            return x
        if self.num_layers == 1 and isinstance(edge_index, Adjacency):
            self.check_adjacency(edge_index, edge_weight)
            return propagate_layers(edge_index, x, num_layers=1, backend=self.backend)
        h = x
        for _ in range(self.num_layers):
            h = self.weighted_sum((h, None), edge_index, edge_weight, None)
        return x + h

    def __repr__(self) -> str:
        return f"ItemSemanticConv(num_layers={self.num_layers}, backend={self.backend!r})"
