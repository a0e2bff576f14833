"""One propagation step, by whichever backend runs it best."""

from torch import Tensor

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops.propagation.backends import BACKENDS
from mentor_pyg.ops.propagation.derivatives import constant_product, is_trained, trained_product

__all__ = ["choose_backend", "propagate"]


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
    product = BACKENDS[choose_backend(adjacency, x, backend)].product
    if is_trained(adjacency):
        return trained_product(product, adjacency, x)
    return constant_product(product, adjacency, x)


def choose_backend(adjacency: Adjacency, x: Tensor, backend: str) -> str:
    """Check the arguments of :func:`propagate` and return the name of the backend to run."""
    if not isinstance(adjacency, Adjacency):
        raise TypeError(
            f"'adjacency' needs to be an Adjacency (got {type(adjacency).__name__}); build one "
            f"with Adjacency.from_edge_index(edge_index, edge_weight, num_nodes=...)"
        )
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
