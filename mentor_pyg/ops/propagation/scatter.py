"""torch-scatter's ``segment_csr`` over the gathered messages."""

from torch import Tensor

from mentor_pyg.dependencies import can_import
from mentor_pyg.graph import Adjacency

__all__ = ["product", "unavailable"]


def unavailable(adjacency: Adjacency, x: Tensor) -> str | None:
    """Return why the backend cannot run on these inputs, or ``None``."""
    if not can_import("torch_scatter"):
        return "torch-scatter is not installed; pip install --no-build-isolation torch-scatter"
    return None


def product(adjacency: Adjacency, x: Tensor) -> Tensor:
    """Equal ``segment_csr(x[col] * weight, rowptr)``."""
    from torch_scatter import segment_csr

    if not x.numel() or not adjacency.num_edges:
        return x.new_zeros(*x.shape[:-2], adjacency.num_targets, x.size(-1))
    message = x[..., adjacency.col, :] * adjacency.weight.to(x.dtype).unsqueeze(-1)
    rowptr = adjacency.rowptr.view(*[1] * (x.dim() - 2), -1)
    out: Tensor = segment_csr(message, rowptr.expand(*x.shape[:-2], -1), reduce="sum")
    return out
