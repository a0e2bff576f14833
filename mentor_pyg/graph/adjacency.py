"""A sparse matrix laid out once for many products with dense matrices."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, fields
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from mentor_pyg.devices import check_is_device
from mentor_pyg.graph.edges import (
    are_symmetric,
    as_ids,
    check_edge_weight,
    check_ids,
    check_layout,
    node_counts,
    offsets,
)
from mentor_pyg.graph.normalize import normalize_rows, normalize_symmetric

__all__ = ["Adjacency"]

_T = TypeVar("_T")
_Layouts: TypeAlias = dict[Callable[["Adjacency"], Any], Any]


@dataclass(frozen=True, eq=False, repr=False)
class Adjacency:
    r"""The weighted adjacency :math:`\mathbf{A}` of a graph, ready for propagation.

    :math:`\mathbf{A}_{t,s}` is the weight of the edge from source :math:`s` to target :math:`t`,
    so that ``propagate(A, x)`` sums over every node's incoming edges, as message passing does.
    Edges are sorted by target, and the transpose that the backward pass needs is kept (the matrix
    itself, where it is symmetric). Targets without edges give zero rows.

    Weights are constants unless they require a gradient, as learned graphs' and gates' do; then
    products are differentiated in them too. :meth:`with_weight` puts new ones on edges that stay.

    Build one with :meth:`from_edge_index` or :meth:`normalized`; instances are immutable. Copies
    and pickles hold the matrix alone, without what backends keep with it.

    Args:
        rowptr: Offsets of each target's edges ``[num_targets + 1]``, from 0 to ``num_edges``; the
            values are not checked here.
        col: The source of every edge ``[num_edges]``, below ``num_sources``; not checked here.
        weight: The weight of every edge ``[num_edges]``.
        num_sources: The number of source nodes.
        is_symmetric: Whether :math:`\mathbf{A} = \mathbf{A}^\top`; not checked here.
        is_weighted: Whether the weights were given, or stand for edges without weights.

    Raises:
        ValueError: If shapes or devices do not go together.
    """

    rowptr: Tensor
    col: Tensor
    weight: Tensor
    _: KW_ONLY
    num_sources: int
    is_symmetric: bool = False
    is_weighted: bool = True

    def __post_init__(self) -> None:
        # Kernels read them by their address. Their values would have to come from the device.
        check_layout(self.rowptr, self.col, self.weight)
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
            edge_weight: Weights ``[num_edges]``; ones if not given. Layers that normalise edges
                refuse a matrix without weights of its own: give ones for a plain sum, or build
                it with :meth:`normalized`.
            num_nodes: The number of nodes, or of sources and targets in a bipartite graph.
            is_symmetric: Promise that the weighted graph equals its reverse. A promise that
                does not hold for the edges gives wrong gradients, so the structure is checked.

        Raises:
            ValueError: If shapes, ids or the promised symmetry do not hold.
        """
        sources, targets = node_counts(num_nodes)
        source, target = as_ids(edge_index, sources, targets)
        weight = edge_weight
        if weight is None:
            weight = torch.ones(source.numel(), device=source.device)
        check_edge_weight(weight, source.numel())
        if is_symmetric and not (
            sources == targets and are_symmetric(source, target, weight.detach(), sources)
        ):
            raise ValueError("'is_symmetric' is set, but the edges and weights are not symmetric")
        perm = torch.argsort(target * sources + source, stable=True)
        return cls(
            offsets(target, targets),
            source[perm],
            weight[perm],
            num_sources=sources,
            is_symmetric=is_symmetric,
            is_weighted=edge_weight is not None,
        )

    @classmethod
    def normalized(
        cls,
        edge_index: Tensor,
        *,
        num_nodes: int | tuple[int, int],
        by: Literal["symmetric", "rows"] = "symmetric",
        is_symmetric: bool = False,
    ) -> Adjacency:
        r"""Lay out edges with weights that normalise them.

        Args:
            edge_index: Edges from source to target ``[2, num_edges]``, in any order.
            num_nodes: The number of nodes, or of sources and targets in a bipartite graph.
            by: ``"symmetric"`` weighs an edge :math:`1 / \sqrt{d_s d_t}`, as
                :class:`~mentor_pyg.nn.InteractionConv` does; ``"rows"`` weighs it
                :math:`1 / d_t`, so that rows average, as
                :class:`~mentor_pyg.nn.ItemSemanticConv` does.
            is_symmetric: As in :meth:`from_edge_index`.

        Raises:
            ValueError: If shapes, ids or the promised symmetry do not hold, or ``by`` is unknown.
        """
        if by not in ("symmetric", "rows"):
            raise ValueError(f"'by' needs to be 'symmetric' or 'rows' (got {by!r})")
        sizes = node_counts(num_nodes)
        edge_index = as_ids(edge_index, *sizes)
        if by == "rows":
            weight = normalize_rows(edge_index, sizes[1])
        else:
            weight = normalize_symmetric(edge_index, sizes)
        return cls.from_edge_index(edge_index, weight, num_nodes=sizes, is_symmetric=is_symmetric)

    @classmethod
    def from_sorted(cls, edge_index: EdgeIndex, edge_weight: Tensor) -> Adjacency:
        """Take over edges that are sorted by target, with the transpose that they have cached.

        Args:
            edge_index: Edges from source to target, ``sort_order="col"``.
            edge_weight: Weights ``[num_edges]``.

        Raises:
            ValueError: If there is not one weight for each edge, or an id is beyond the size.
        """
        num_sources, num_targets = edge_index.get_sparse_size()
        check_ids(edge_index.as_tensor(), num_sources, num_targets)  # PyG writes where they say.
        (rowptr, col), _ = edge_index.get_csc()
        adjacency = cls(rowptr, col, edge_weight, num_sources=num_sources)
        (rowptr, col), perm = edge_index.get_csr()
        adjacency._layouts[_transposition] = _Transposition(rowptr, col, perm, {})
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

    @cached_property
    def _layouts(self) -> _Layouts:
        return {}

    @property
    def target(self) -> Tensor:
        """The target of every edge ``[num_edges]``, ascending."""
        return self.layout(_targets)

    def layout(self, build: Callable[[Adjacency], _T]) -> _T:
        """Return what ``build`` makes of the edges, made at the first call and kept with them.

        Backends lay out a matrix in their own ways by it. Matrices that differ in their weights
        only (:meth:`with_weight`) share what is kept, so ``build`` must not read the weights.

        Args:
            build: A function, the same object at each call.
        """
        if build not in self._layouts:
            # Outside of inference mode, where a model may be run first: autograd cannot save
            # the tensors made there.
            with torch.inference_mode(False), torch.no_grad():
                self._layouts[build] = build(self)
        layout: _T = self._layouts[build]
        return layout

    def with_weight(self, weight: Tensor) -> Adjacency:
        """Return the matrix with other weights on the same edges, which are not sorted anew.

        Args:
            weight: Weights ``[num_edges]`` in the order of ``col`` and :attr:`target`. If
                they require a gradient, products are differentiated in them.

        Raises:
            ValueError: If there is not one weight for each edge.
        """
        adjacency = Adjacency(self.rowptr, self.col, weight, num_sources=self.num_sources)
        adjacency.__dict__["_layouts"] = self._layouts
        return adjacency

    @property
    def transposed(self) -> Adjacency:
        """The transpose; the matrix itself where it is symmetric and its weights constants."""
        if self.weight.requires_grad:
            return self._transpose()  # Anew: a graph from weight to weight is walked once.
        if self.is_symmetric:
            return self
        kept = self.__dict__.get("_transposed")
        if isinstance(kept, weakref.ref):
            kept = kept()
        if kept is None:
            with torch.inference_mode(False):
                kept = self._transpose()
            self.__dict__["_transposed"] = kept
            # Weak: through a cycle, every step's weights would stay until it is collected.
            kept.__dict__["_transposed"] = weakref.ref(self)
        transposed: Adjacency = kept
        return transposed

    def _transpose(self) -> Adjacency:
        rowptr, col, perm, layouts = self.layout(_transposition)
        transposed = Adjacency(
            rowptr,
            col,
            self.weight[perm],
            num_sources=self.num_targets,
            is_weighted=self.is_weighted,
        )
        transposed.__dict__["_layouts"] = layouts
        return transposed

    def to(self, device: torch.device | str) -> Adjacency:
        """Return the same matrix on ``device``.

        Raises:
            TypeError: If it is no device; :meth:`with_weight` takes weights of another type.
        """
        check_is_device(device)
        return Adjacency(
            self.rowptr.to(device),
            self.col.to(device),
            self.weight.to(device),
            num_sources=self.num_sources,
            is_symmetric=self.is_symmetric,
            is_weighted=self.is_weighted,
        )

    def to_dense(self) -> Tensor:
        """Return the dense matrix ``[num_targets, num_sources]``; for tests and small graphs."""
        dense = self.weight.new_zeros(self.num_targets, self.num_sources)
        return dense.index_put((self.target, self.col), self.weight, accumulate=True)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __repr__(self) -> str:
        return (
            f"Adjacency(num_targets={self.num_targets}, num_sources={self.num_sources}, "
            f"num_edges={self.num_edges}, is_symmetric={self.is_symmetric})"
        )


class _Transposition(NamedTuple):
    """The edges sorted by source."""

    rowptr: Tensor  # [num_sources + 1]
    col: Tensor  # [num_edges], the targets
    perm: Tensor  # [num_edges], from the order by target
    layouts: _Layouts  # What is kept with the transpose.


def _transposition(adjacency: Adjacency) -> _Transposition:
    # Targets ascend already, and stay so within a source.
    perm = torch.argsort(adjacency.col, stable=True)
    rowptr = offsets(adjacency.col, adjacency.num_sources)
    return _Transposition(rowptr, adjacency.target[perm], perm, {})


def _targets(adjacency: Adjacency) -> Tensor:
    nodes = torch.arange(adjacency.num_targets, device=adjacency.device)
    return nodes.repeat_interleave(adjacency.rowptr.diff(), output_size=adjacency.num_edges)
