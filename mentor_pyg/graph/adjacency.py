"""A sparse matrix laid out once for many products with dense matrices."""

from __future__ import annotations

import warnings
from dataclasses import KW_ONLY, dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from mentor_pyg.graph.segments import RowSegments, split_rows

__all__ = ["Adjacency"]


@dataclass(frozen=True, eq=False, repr=False)
class Adjacency:
    r"""The weighted adjacency :math:`\mathbf{A}` of a graph, ready for propagation.

    :math:`\mathbf{A}_{t,s}` is the weight of the edge from source :math:`s` to target :math:`t`,
    so that ``A @ x`` sums over every node's incoming edges, as message passing does. Edges are
    sorted by target, the weights are constants, and the transpose that the backward pass needs
    is kept (the matrix itself, where it is symmetric). Targets without edges give zero rows.

    Build one with :meth:`from_edge_index`; instances are immutable.

    Args:
        rowptr: Offsets of each target's edges ``[num_targets + 1]``, from 0 to ``num_edges``; the
            values are not checked here.
        col: The source of every edge ``[num_edges]``, below ``num_sources``; not checked here.
        weight: The weight of every edge ``[num_edges]``.
        num_sources: The number of source nodes.
        is_symmetric: Whether :math:`\mathbf{A} = \mathbf{A}^\top`; not checked here.

    Raises:
        ValueError: If shapes or devices do not go together.
    """

    rowptr: Tensor
    col: Tensor
    weight: Tensor
    _: KW_ONLY
    num_sources: int
    is_symmetric: bool = False

    def __post_init__(self) -> None:
        # Kernels read them by their address. Their values would have to come from the device.
        _check_layout(self.rowptr, self.col, self.weight)
        for name in ("rowptr", "col", "weight"):
            object.__setattr__(self, name, getattr(self, name).contiguous())

    @classmethod
    def from_edge_index(
        cls,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        *,
        num_nodes: int | tuple[int, int],
        is_symmetric: bool = False,
    ) -> Adjacency:
        """Sort and lay out edges.

        Args:
            edge_index: Edges from source to target ``[2, num_edges]``, in any order.
            edge_weight: Weights ``[num_edges]``; ones if not given.
            num_nodes: The number of nodes, or of sources and targets in a bipartite graph.
            is_symmetric: Promise that the weighted graph equals its reverse. A promise that
                does not hold for the edges gives wrong gradients, so the structure is checked.

        Raises:
            ValueError: If shapes, ids or the promised symmetry do not hold.
        """
        sources, targets = (num_nodes, num_nodes) if isinstance(num_nodes, int) else num_nodes
        if isinstance(edge_index, EdgeIndex):
            edge_index = edge_index.as_tensor()
        _check_edges(edge_index, edge_weight, sources, targets)
        if edge_weight is None:
            edge_weight = torch.ones(edge_index.size(1), device=edge_index.device)
        source, target = edge_index
        perm = torch.argsort(target * sources + source, stable=True)
        count = torch.bincount(target, minlength=targets)
        rowptr = torch.cat([count.new_zeros(1), count.cumsum(0)])
        adjacency = cls(
            rowptr,
            source[perm],
            edge_weight.detach()[perm],
            num_sources=sources,
            is_symmetric=is_symmetric,
        )
        if is_symmetric and not _equals_transpose(adjacency):
            raise ValueError("'is_symmetric' is set, but the edges and weights are not symmetric")
        return adjacency

    @classmethod
    def from_sorted(cls, edge_index: EdgeIndex, edge_weight: Tensor) -> Adjacency:
        """Take over edges that are sorted by target, with the transpose that they have cached.

        Args:
            edge_index: Edges from source to target, ``sort_order="col"``.
            edge_weight: Weights ``[num_edges]``.

        Raises:
            ValueError: If there is not one weight for each edge.
        """
        num_sources, num_targets = edge_index.get_sparse_size()
        weight = edge_weight.detach()
        (rowptr, col), _ = edge_index.get_csc()
        adjacency = cls(rowptr, col, weight, num_sources=num_sources)
        (rowptr, col), perm = edge_index.get_csr()
        # No link back: a reference cycle would keep every step's weights until collected.
        transposed = cls(rowptr, col, weight[perm], num_sources=num_targets)
        adjacency.__dict__["_transposed"] = transposed
        return adjacency

    @property
    def num_targets(self) -> int:
        """The number of target nodes, the rows of the matrix."""
        return self.rowptr.numel() - 1

    @property
    def num_edges(self) -> int:
        """The number of edges."""
        return self.col.numel()

    @property
    def device(self) -> torch.device:
        """The device that holds the edges."""
        return self.col.device

    # What is kept is made outside of inference mode, where a model may be run first, since
    # autograd cannot save the tensors made there.
    @cached_property
    @torch.inference_mode(False)
    def target(self) -> Tensor:
        """The target of every edge ``[num_edges]``, ascending."""
        nodes = torch.arange(self.num_targets, device=self.device)
        return nodes.repeat_interleave(self.rowptr.diff(), output_size=self.num_edges)

    @cached_property
    @torch.inference_mode(False)
    def edge_index(self) -> EdgeIndex:
        """The edges as an :class:`~torch_geometric.EdgeIndex` sorted by target."""
        index = EdgeIndex(
            torch.stack([self.col, self.target]),
            sparse_size=(self.num_sources, self.num_targets),
            sort_order="col",
            is_undirected=self.is_symmetric,
        )
        return index.fill_cache_()

    @cached_property
    @torch.inference_mode(False)
    def csr(self) -> Tensor:
        """The matrix as a torch CSR tensor ``[num_targets, num_sources]``."""
        limit = max(self.num_edges, self.num_sources, self.num_targets)
        # The libraries behind torch count in 32 bits and convert wider indices at every product.
        index = torch.int32 if limit < 2**31 else torch.int64
        with warnings.catch_warnings():
            # Beta notices about a layout whose use here the tests hold.
            warnings.filterwarnings("ignore", message="Sparse")
            return torch.sparse_csr_tensor(
                self.rowptr.to(index),
                self.col.to(index),
                self.weight,
                (self.num_targets, self.num_sources),
                check_invariants=False,
            )

    @cached_property
    @torch.inference_mode(False)
    def row_segments(self) -> RowSegments:
        """The rows, long ones cut up, for kernels that share them out among many workers."""
        return split_rows(self.rowptr)

    @property
    def transposed(self) -> Adjacency:
        """The transpose; the matrix itself where it is symmetric."""
        return self if self.is_symmetric else self._transposed

    @cached_property
    @torch.inference_mode(False)
    def _transposed(self) -> Adjacency:
        reversed_edges = torch.stack([self.target, self.col])
        transposed = Adjacency.from_edge_index(
            reversed_edges, self.weight, num_nodes=(self.num_targets, self.num_sources)
        )
        transposed.__dict__["_transposed"] = self  # Transposing twice gives this object back.
        return transposed

    def to(self, device: torch.device | str) -> Adjacency:
        """Return the same matrix on ``device``."""
        return Adjacency(
            self.rowptr.to(device),
            self.col.to(device),
            self.weight.to(device),
            num_sources=self.num_sources,
            is_symmetric=self.is_symmetric,
        )

    def to_dense(self) -> Tensor:
        """Return the dense matrix ``[num_targets, num_sources]``; for tests and small graphs."""
        return self.csr.to_dense()

    def __repr__(self) -> str:
        return (
            f"Adjacency(num_targets={self.num_targets}, num_sources={self.num_sources}, "
            f"num_edges={self.num_edges}, is_symmetric={self.is_symmetric})"
        )


def _check_layout(rowptr: Tensor, col: Tensor, weight: Tensor) -> None:
    if rowptr.dim() != 1 or rowptr.numel() == 0 or col.dim() != 1:
        raise ValueError(
            f"'rowptr' and 'col' need the shapes [num_targets + 1] and [num_edges] "
            f"(got {list(rowptr.shape)} and {list(col.shape)})"
        )
    if weight.shape != col.shape:
        raise ValueError(
            f"there needs to be one weight for each of the {col.numel()} edges "
            f"(got shape {list(weight.shape)})"
        )
    if not rowptr.device == col.device == weight.device:
        raise ValueError(
            f"edges and weights need to be on one device "
            f"(got {rowptr.device}, {col.device} and {weight.device})"
        )


def _check_edges(
    edge_index: Tensor, edge_weight: Tensor | None, num_sources: int, num_targets: int
) -> None:
    if edge_index.dim() != 2 or edge_index.size(0) != 2 or edge_index.is_floating_point():
        raise ValueError(
            f"'edge_index' needs to be integers of shape [2, num_edges] "
            f"(got {edge_index.dtype} of shape {list(edge_index.shape)})"
        )
    if edge_weight is not None and edge_weight.shape != edge_index.shape[1:]:
        raise ValueError(
            f"'edge_weight' needs one weight for each of the {edge_index.size(1)} edges "
            f"(got shape {list(edge_weight.shape)})"
        )
    for name, ids, size in zip(
        ("source", "target"), edge_index, (num_sources, num_targets), strict=True
    ):
        if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= size):
            raise ValueError(
                f"'edge_index' has {name} ids from {int(ids.min())} to {int(ids.max())}, "
                f"but there are {size} {name} nodes; correct the ids or 'num_nodes'"
            )


def _equals_transpose(adjacency: Adjacency) -> bool:
    """Whether the sorted edges are the same, with the same weights, when reversed."""
    if adjacency.num_sources != adjacency.num_targets:
        return False
    source, target = adjacency.col, adjacency.target
    perm = torch.argsort(source * adjacency.num_sources + target, stable=True)
    return (
        torch.equal(source[perm], target)
        and torch.equal(target[perm], source)
        and torch.equal(adjacency.weight[perm], adjacency.weight)
    )
