"""torch's CSR product, with the transpose kept for the backward pass."""

import torch
from torch import Tensor

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops.constant_matrix import differentiable

__all__ = ["propagate", "unavailable"]

_MIN_REDUCE_WIDTH = 64
"""From here up torch's own CPU kernel, behind ``reduce``, beats the one of MKL behind ``mm``."""


def unavailable(adjacency: Adjacency, x: Tensor) -> str | None:
    """Return why the backend cannot run on these inputs, or ``None``."""
    if x.dtype != adjacency.weight.dtype:
        got = f"{x.dtype} and {adjacency.weight.dtype}"
        return f"torch's CSR product needs x and weights of one dtype (got {got})"
    if x.device.type == "cpu" and x.dtype not in (torch.float32, torch.float64):
        return f"torch's CSR product has no {x.dtype} kernel on the CPU"
    return None


def propagate(adjacency: Adjacency, x: Tensor) -> Tensor:
    """Equal ``torch.mm(adjacency.csr, x)`` per slab, differentiable in ``x``."""
    return differentiable(_product, adjacency, x)


def _product(adjacency: Adjacency, x: Tensor) -> Tensor:
    if x.dim() == 2:
        return _matmul(adjacency.csr, x)
    # Slab by slab: several narrow products beat one wide one on the CPU.
    return torch.stack([_matmul(adjacency.csr, slab) for slab in x])


def _matmul(csr: Tensor, x: Tensor) -> Tensor:
    if x.device.type == "cpu" and x.size(1) >= _MIN_REDUCE_WIDTH:
        return torch.sparse.mm(csr, x, "sum")
    return torch.mm(csr, x)
