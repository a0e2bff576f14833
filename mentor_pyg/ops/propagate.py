"""One propagation step, by whichever backend runs it best."""

import logging
from collections.abc import Callable
from functools import cache
from typing import NamedTuple, TypeAlias

from torch import Tensor

from mentor_pyg.dependencies import UnavailableError
from mentor_pyg.graph import Adjacency
from mentor_pyg.ops import edge_index, naive, native_csr, scatter, torch_csr, triton_csr
from mentor_pyg.ops.noise import Noise

__all__ = ["BACKENDS", "Backend", "FusedLayer", "choose_backend", "propagate"]

logger = logging.getLogger(__name__)


FusedLayer: TypeAlias = Callable[
    [Adjacency, Tensor, Tensor, Noise | None, bool], tuple[Tensor, Tensor]
]
"""``(adjacency, h, base, noise, keep) -> (h', base + h')`` with ``h' = noise(adjacency @ h)``.

Not differentiable; writes to none of its arguments. Where ``keep`` is false, the first result is
not used and may be any tensor.
"""


class Backend(NamedTuple):
    """A way to compute ``adjacency @ x``."""

    propagate: Callable[[Adjacency, Tensor], Tensor]
    unavailable: Callable[[Adjacency, Tensor], str | None]
    """Why the backend cannot run on these inputs; ``None`` where it can."""
    layer: FusedLayer | None = None
    """One layer with its noise and sum, where the backend has a kernel for all of it."""


BACKENDS: dict[str, Backend] = {
    "native": Backend(native_csr.propagate, native_csr.unavailable, native_csr.layer),
    "torch_csr": Backend(torch_csr.propagate, torch_csr.unavailable),
    "edge_index": Backend(edge_index.propagate, edge_index.unavailable),
    "scatter": Backend(scatter.propagate, scatter.unavailable),
    "naive": Backend(naive.propagate, naive.unavailable),
    "triton": Backend(triton_csr.propagate, triton_csr.unavailable, triton_csr.layer),
}
"""The backends by name, in the order in which ``"auto"`` tries them.

What comes after ``"naive"``, which can always run, runs only if it is asked for by name.
"""


def propagate(adjacency: Adjacency, x: Tensor, backend: str = "auto") -> Tensor:
    r"""Return :math:`\mathbf{A} \mathbf{x}`, the weighted sum over every node's neighbours.

    Equals ``adjacency.to_dense() @ x``. Differentiable in ``x``; the weights are constants.

    Args:
        adjacency: The matrix.
        x: Node features ``[num_sources, d]``, or slabs of them ``[views, num_sources, d]``.
        backend: ``"auto"`` takes the first of :data:`BACKENDS` that can run. A backend asked
            for by name runs or raises.

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
    return BACKENDS[choose_backend(adjacency, x, backend)].propagate(adjacency, x)


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
    if backend == "auto":
        backend = next(n for n, b in BACKENDS.items() if b.unavailable(adjacency, x) is None)
        _log_choice(backend, x.device.type)
    elif backend not in BACKENDS:
        raise ValueError(
            f"'backend' needs to be 'auto' or one of {sorted(BACKENDS)} (got {backend!r})"
        )
    elif reason := BACKENDS[backend].unavailable(adjacency, x):
        raise UnavailableError(f"backend {backend!r} cannot run: {reason}")
    return backend


@cache
def _log_choice(backend: str, device: str) -> None:
    logger.info("propagate(backend='auto') runs '%s' on %s", backend, device)
