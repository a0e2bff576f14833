"""Propagation over user-item interactions."""

from torch import Tensor

from mentor_pyg.graph import Adjacency, normalize_symmetric
from mentor_pyg.nn.conv.weighted_sum import WeightedSumConv

__all__ = ["InteractionConv"]


class InteractionConv(WeightedSumConv):
    r"""The parameter-free graph convolution of `"LightGCN" <https://arxiv.org/abs/2002.02126>`_.

    .. math::
        \mathbf{x}^{\prime}_i = \sum_{j \in \mathcal{N}(i)}
        \frac{1}{\sqrt{d_i \, d_j}} \mathbf{x}_j

    It takes homogeneous graphs (users and items in one id space) and bipartite ones, where the
    two directions of the interactions give the same result as the joint graph. Nodes without
    edges get zeros.

    Args:
        backend: How :func:`mentor_pyg.ops.propagate` runs where the graph is an
            :class:`~mentor_pyg.graph.Adjacency` or a column-sorted ``EdgeIndex``.
        **kwargs: Arguments of :class:`torch_geometric.nn.conv.MessagePassing`.

    Shapes:
        - **input:** node features :math:`(|\mathcal{V}|, F)` or
          :math:`((|\mathcal{V}_s|, F), (|\mathcal{V}_t|, *))` if bipartite; edges
          :math:`(2, |\mathcal{E}|)`, an ``EdgeIndex`` (fused where sorted by column), or an
          ``Adjacency`` with weights, as ``Adjacency.normalized`` gives it (the fast path; built
          once, it is not normalised again); edge weights :math:`(|\mathcal{E}|)` *(optional)*,
          which replace the normalisation.
        - **output:** node features :math:`(|\mathcal{V}|, F)` or :math:`(|\mathcal{V}_t|, F)`.
    """

    def normalize(self, edge_index: Tensor, size: tuple[int, int]) -> Tensor:
        """Return symmetric weights ``[num_edges]``."""
        return normalize_symmetric(edge_index, size)

    def forward(
        self,
        x: Tensor | tuple[Tensor, Tensor | None],
        edge_index: Tensor | Adjacency,
        edge_weight: Tensor | None = None,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        """Return the weighted sums over every node's neighbours."""
        pair = (x, x) if isinstance(x, Tensor) else x
        return self.weighted_sum(pair, edge_index, edge_weight, size)
