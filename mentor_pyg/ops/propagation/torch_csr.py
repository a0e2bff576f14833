"""torch's CSR product."""

import warnings

import torch
from torch import Tensor

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops.propagation.compact_index import CompactIndex, compact_index

__all__ = ["hush_beta_notice", "product", "unavailable"]

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


def product(adjacency: Adjacency, x: Tensor) -> Tensor:
    """Equal ``torch.mm(csr, x)`` per slab, ``csr`` being the matrix as a torch CSR tensor."""
    csr = _csr(adjacency)
    if x.dim() == 2:
        return _matmul(csr, x)
    # Slab by slab: several narrow products beat one wide one on the CPU.
    slabs = [_matmul(csr, slab) for slab in x]
    return torch.stack(slabs) if slabs else x.new_empty(0, adjacency.num_targets, x.size(-1))


def _csr(adjacency: Adjacency) -> Tensor:
    """Put indices and weights together; nothing is copied."""
    rowptr, col = adjacency.layout(_index)
    size = (adjacency.num_targets, adjacency.num_sources)
    return torch.sparse_csr_tensor(rowptr, col, adjacency.weight, size, check_invariants=False)


def _index(adjacency: Adjacency) -> CompactIndex:
    hush_beta_notice()
    # The libraries behind torch count in 32 bits and convert wider indices at every product.
    return adjacency.layout(compact_index)


def hush_beta_notice() -> None:
    """Let torch say to no one, as it says once, that compressed layouts are in beta."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")
        empty = torch.zeros(1, dtype=torch.int32)
        torch.sparse_csr_tensor(empty, empty[1:], torch.zeros(0), (0, 1), check_invariants=False)


def _matmul(csr: Tensor, x: Tensor) -> Tensor:
    if x.device.type == "cpu" and x.size(1) >= _MIN_REDUCE_WIDTH:
        return torch.sparse.mm(csr, x, "sum")
    return torch.mm(csr, x)
