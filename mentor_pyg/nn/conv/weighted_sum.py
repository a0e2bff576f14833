"""What this library's convolutions share: a weighted sum over incoming edges."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn import MessagePassing

from mentor_pyg.graph import Adjacency
from mentor_pyg.graph.edges import check_edge_weight
from mentor_pyg.ops import propagate

__all__ = ["WeightedSumConv", "check_one_graph"]


class WeightedSumConv(MessagePassing):
    r"""Base of parameter-free convolutions :math:`\mathbf{x}^{\prime} = \mathbf{A} \mathbf{x}`.

    A subclass says in :meth:`normalize` how edges without weights are weighed, and calls
    :meth:`weighted_sum` in its ``forward``. Weights that are given, beside the edges or in an
    :class:`~mentor_pyg.graph.Adjacency`, are used as they are. An ``Adjacency`` that was built
    without weights is refused, since it is not normalised at every call.

    Args:
        backend: How :func:`mentor_pyg.ops.propagate` runs where the graph is an
            :class:`~mentor_pyg.graph.Adjacency` or a column-sorted ``EdgeIndex``.
        **kwargs: Arguments of :class:`torch_geometric.nn.conv.MessagePassing`.
    """

    SUPPORTS_FUSED_EDGE_INDEX = True

    def __init__(self, backend: str = "auto", **kwargs: Any) -> None:
        if kwargs.get("flow", "source_to_target") != "source_to_target":
            raise ValueError(
                f"'flow' needs to be 'source_to_target' (got {kwargs['flow']!r}); "
                f"reverse the edges instead"
            )
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
        r"""Return :math:`\mathbf{A} \mathbf{x}`, fused where the edges allow it.

        Raises:
            ValueError: If edges, weights and sizes do not go together, or an ``Adjacency`` has
                no weights of its own.
        """
        if isinstance(edge_index, Adjacency):
            self.check_adjacency(edge_index, edge_weight)
            return propagate(edge_index, x[0], backend=self.backend)
        if edge_index.layout != torch.strided:
            raise ValueError(
                f"'edge_index' needs to be edges [2, num_edges], an EdgeIndex or an Adjacency (got "
                f"{edge_index.layout}); convert it with torch_geometric.utils.to_edge_index"
            )
        if edge_weight is not None:
            check_edge_weight(edge_weight, edge_index.size(1))
        size = size or _size(x, edge_index)
        plain = edge_index
        if isinstance(edge_index, EdgeIndex):
            plain = edge_index.as_tensor()
            _set_size(edge_index, size)
        if edge_weight is None:
            edge_weight = self.normalize(plain, size).to(x[0].dtype)
        # Only sources send, and the output has the size of the targets.
        # propagate_type: (x: Tensor, edge_weight: Tensor)
        out: Tensor = self.propagate(edge_index, x=x[0], edge_weight=edge_weight, size=size)
        return out

    def check_adjacency(self, adjacency: Adjacency, edge_weight: Tensor | None) -> None:
        """Raise a ``ValueError`` unless the weights of the matrix, and they alone, were given."""
        if edge_weight is not None:
            raise ValueError(
                "'edge_weight' cannot be given beside an Adjacency, which has its own weights"
            )
        if not adjacency.is_weighted:
            raise ValueError(
                f"the Adjacency was built without weights, and {type(self).__name__} would not "
                f"normalise it; build it with Adjacency.normalized(edge_index, num_nodes=...), or "
                f"with weights of its own, ones for a plain sum"
            )

    def message(self, x_j: Tensor, edge_weight: Tensor) -> Tensor:
        """Weigh what neighbours send, ``[num_edges, F]``."""
        return x_j * edge_weight.unsqueeze(-1)

    def message_and_aggregate(
        self, edge_index: EdgeIndex, x: Tensor, edge_weight: Tensor
    ) -> Tensor:
        """Do the same as one sparse product, where the edges are sorted by target."""
        # PyG's backward (2.8) fails on bipartite graphs where the weights are constants.
        return propagate(Adjacency.from_sorted(edge_index, edge_weight), x, self.backend)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}(backend={self.backend!r})"


def check_one_graph(x: Tensor | tuple[Tensor, Tensor | None], layer: str) -> Tensor:
    """Return the features of all nodes; raise a ``ValueError`` where they are a pair of two kinds.

    Args:
        x: Node features, or the pair that ``HeteroConv`` passes for edges between two node types.
        layer: The name of a layer that repeats its step, so that targets have to be sources too.
    """
    if isinstance(x, Tensor):
        return x
    raise ValueError(
        f"{layer} needs one tensor 'x' of all nodes [num_nodes, F], since every layer goes on from "
        f"the last (got a pair of sources and targets); join both kinds of nodes into one graph, "
        f"with edges in both directions, or use InteractionConv, which is one step"
    )


def _size(x: tuple[Tensor, Tensor | None], edge_index: Tensor) -> tuple[int, int]:
    sources = x[0].size(0)
    if x[1] is not None:
        return sources, x[1].size(0)
    if isinstance(edge_index, EdgeIndex) and edge_index.num_cols is not None:
        return sources, edge_index.num_cols
    return sources, sources


def _set_size(edge_index: EdgeIndex, size: tuple[int, int]) -> None:
    """Give the edges the size of the features, which PyG would guess from the highest ids."""
    known = edge_index.sparse_size()
    if any(k is not None and k != s for k, s in zip(known, size, strict=True)):
        raise ValueError(
            f"'edge_index' is of the size {tuple(known)}, but there are {size[0]} source and "
            f"{size[1]} target nodes; call edge_index.sparse_resize_{size}"
        )
    if None in known:
        edge_index.sparse_resize_(*size)
