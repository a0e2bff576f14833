"""One propagation step, by whichever backend runs it best."""

import torch
from torch import Tensor

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops.propagation.backends import BACKENDS
from mentor_pyg.ops.propagation.derivatives import (
    constant_product,
    is_trained,
    row_dots,
    trained_product,
)

__all__ = ["choose_backend", "edge_dots", "propagate"]


def propagate(adjacency: Adjacency, x: Tensor, backend: str = "auto") -> Tensor:
    r"""Return :math:`\mathbf{A} \mathbf{x}`, the weighted sum over every node's neighbours.

    Equals ``adjacency.to_dense() @ x``. Differentiable in ``x``, and in the weights where
    ``adjacency.weight`` requires a gradient.

    Args:
        adjacency: The matrix.
        x: Node features ``[num_sources, d]``, or slabs of them ``[views, num_sources, d]``.
        backend: A name in :data:`BACKENDS`, which runs or raises, or ``"auto"``, which takes the
            first of its order that can run.

    Returns:
        Features ``[num_targets, d]``, or ``[views, num_targets, d]``.

    Raises:
        TypeError: If ``adjacency`` is no :class:`~mentor_pyg.graph.Adjacency`.
        ValueError: If ``x`` does not fit, or the backend is unknown.
        RuntimeError: If the backend asked for cannot run; the message says why.

    Examples:
        >>> import torch
        >>> edge_index = torch.tensor([[0, 1, 2], [1, 0, 1]])  # Node 1 hears nodes 0 and 2.
        >>> adjacency = Adjacency.from_edge_index(edge_index, num_nodes=3)
        >>> propagate(adjacency, torch.tensor([[1.0], [10.0], [100.0]])).flatten().tolist()
        [10.0, 101.0, 0.0]
    """
    chosen = BACKENDS[choose_backend(adjacency, x, backend)]
    if is_trained(adjacency):
        return trained_product(chosen, adjacency, x)
    return constant_product(chosen, adjacency, x)


def edge_dots(
    adjacency: Adjacency, at_target: Tensor, at_source: Tensor, backend: str = "auto"
) -> Tensor:
    r"""Return :math:`\mathbf{y}_t \cdot \mathbf{x}_s` for every edge from :math:`s` to :math:`t`.

    Equals ``(at_target @ at_source.t())[adjacency.target, adjacency.col]`` without the matrix of
    all pairs. Differentiable in both; the gradients are sums over edges, as in :func:`propagate`,
    that come out the same at every run. The weights play no part: put the result in their place
    with :meth:`~.Adjacency.with_weight`, for edges that are weighed by what they connect.

    Args:
        adjacency: The edges.
        at_target: Rows of the targets ``[num_targets, d]``.
        at_source: Rows of the sources ``[num_sources, d]``.
        backend: How products and sums are taken, as in :func:`propagate`.

    Returns:
        ``[num_edges]``, in the order of ``adjacency.target`` and ``adjacency.col``.

    Raises:
        TypeError: If ``adjacency`` is no :class:`~mentor_pyg.graph.Adjacency`.
        ValueError: If the rows do not fit, or the backend is unknown.

    Examples:
        >>> import torch
        >>> edge_index = torch.tensor([[0, 1, 2], [1, 0, 1]])
        >>> adjacency = Adjacency.from_edge_index(edge_index, num_nodes=3)
        >>> x = torch.tensor([[1.0], [10.0], [100.0]])
        >>> edge_dots(adjacency, x, x).tolist()  # 1 to 0, 0 to 1, 2 to 1
        [10.0, 10.0, 1000.0]
    """
    _check_adjacency(adjacency)
    dtype = torch.promote_types(at_target.dtype, at_source.dtype)
    at_target, at_source = at_target.to(dtype), at_source.to(dtype)
    edges = adjacency.with_weight(adjacency.weight.detach().to(dtype))
    chosen = BACKENDS[choose_backend(edges, at_source, backend)]
    expected = (*at_source.shape[:-2], adjacency.num_targets, at_source.size(-1))
    if at_source.dim() != 2 or at_target.shape != expected:
        raise ValueError(
            f"'at_target' and 'at_source' need the shapes [{adjacency.num_targets}, d] and "
            f"[{adjacency.num_sources}, d] (got {list(at_target.shape)} and "
            f"{list(at_source.shape)})"
        )
    if at_target.device != at_source.device:  # Kernels would read it by its address.
        raise ValueError(
            f"'at_target' needs to be on the device of 'at_source', {at_source.device} (got "
            f"{at_target.device}); move one of them with .to(...)"
        )
    return row_dots(chosen, edges, at_target, at_source)


def choose_backend(adjacency: Adjacency, x: Tensor, backend: str) -> str:
    """Check the arguments of :func:`propagate` and return the name of the backend to run."""
    _check_adjacency(adjacency)
    if not x.is_floating_point():
        raise ValueError(f"'x' needs floating-point features (got {x.dtype})")
    if x.dim() not in (2, 3) or x.size(-2) != adjacency.num_sources:
        raise ValueError(
            f"'x' needs shape [{adjacency.num_sources}, d] or "
            f"[views, {adjacency.num_sources}, d] (got {list(x.shape)})"
        )
    if x.device != adjacency.device:
        raise ValueError(
            f"'x' needs to be on the device of 'adjacency', {adjacency.device} (got {x.device}); "
            f"move one of them with .to(...)"
        )
    return BACKENDS.choose(backend, x.device, adjacency, x)


def _check_adjacency(adjacency: object) -> None:
    if not isinstance(adjacency, Adjacency):
        raise TypeError(
            f"'adjacency' needs to be an Adjacency (got {type(adjacency).__name__}); build one "
            f"with Adjacency.from_edge_index(edge_index, edge_weight, num_nodes=...)"
        )
