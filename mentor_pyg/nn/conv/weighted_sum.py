"""What this library's convolutions share: a weighted sum over incoming edges."""

from typing import Any

from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn import MessagePassing

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops import propagate

__all__ = ["WeightedSumConv"]


class WeightedSumConv(MessagePassing):
    r"""Base of parameter-free convolutions :math:`\mathbf{x}^{\prime} = \mathbf{A} \mathbf{x}`.

    A subclass says in :meth:`normalize` how plain edges are weighed, and calls
    :meth:`weighted_sum` in its ``forward``.

    Args:
        backend: How :func:`mentor_pyg.ops.propagate` runs where the graph is an
            :class:`~mentor_pyg.graph.Adjacency`.
        **kwargs: Arguments of :class:`torch_geometric.nn.conv.MessagePassing`.
    """

    SUPPORTS_FUSED_EDGE_INDEX = True

    def __init__(self, backend: str = "auto", **kwargs: Any) -> None:
        super().__init__(aggr="sum", **kwargs)
        self.backend = backend

    def normalize(self, edge_index: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the weights ``[num_edges]`` of edges that came without."""
        raise NotImplementedError

    def weighted_sum(
        self,
        x: tuple[Tensor, Tensor | None],
        edge_index: Tensor | Adjacency,
        edge_weight: Tensor | None,
        size: tuple[int, int] | None,
    ) -> Tensor:
        r"""Return :math:`\mathbf{A} \mathbf{x}`, fused where the edges allow it."""
        if isinstance(edge_index, Adjacency):
            if edge_weight is not None:
                raise ValueError(
                    "'edge_weight' cannot be given beside an Adjacency, which has its own weights"
                )
            return propagate(edge_index, x[0], backend=self.backend)
        if size is None:
            size = (x[0].size(0), x[0].size(0) if x[1] is None else x[1].size(0))
        if edge_weight is None:
            plain = edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index
            edge_weight = self.normalize(plain, size).to(x[0].dtype)
        # Only sources send; the target's features give the output its size.
        # propagate_type: (x: OptPairTensor, edge_weight: Tensor)
        out: Tensor = self.propagate(edge_index, x=(x[0], None), edge_weight=edge_weight, size=size)
        return out

    def message(self, x_j: Tensor, edge_weight: Tensor) -> Tensor:
        """Weigh what neighbours send, ``[num_edges, F]``."""
        return x_j * edge_weight.unsqueeze(-1)

    def message_and_aggregate(
        self,
        edge_index: EdgeIndex,
        x: tuple[Tensor, Tensor | None],
        edge_weight: Tensor,
    ) -> Tensor:
        """Do the same as one sparse product, where the edges are sorted by target."""
        out = edge_index.matmul(x[0], edge_weight, transpose=True)
        assert isinstance(out, Tensor)  # Sparse times dense is dense.
        return out

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}(backend={self.backend!r})"
