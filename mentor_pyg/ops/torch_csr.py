"""torch's CSR product, with the transpose kept for the backward pass."""

import torch
from torch import Tensor

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops.constant_matrix import differentiable

__all__ = ["propagate", "unavailable"]


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
        return torch.mm(adjacency.csr, x)
    out = x.new_empty(x.size(0), adjacency.num_targets, x.size(2))
    for view, slab in zip(out, x, strict=True):
        # Slab by slab: several narrow products beat one wide one on the CPU.
        torch.mm(adjacency.csr, slab, out=view)
    return out
