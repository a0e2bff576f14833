"""torch-scatter's ``segment_csr`` over the gathered messages."""

from torch import Tensor

from mentor_pyg.dependencies import has_torch_scatter
from mentor_pyg.graph import Adjacency
from mentor_pyg.ops.constant_matrix import differentiable

__all__ = ["propagate", "unavailable"]


def unavailable(adjacency: Adjacency, x: Tensor) -> str | None:
    """Return why the backend cannot run on these inputs, or ``None``."""
    if not has_torch_scatter():
        return "torch-scatter is not installed; pip install 'mentor_pyg[scatter]'"
    return None


def propagate(adjacency: Adjacency, x: Tensor) -> Tensor:
    """Equal ``segment_csr(x[col] * weight, rowptr)``, differentiable in ``x``."""
    return differentiable(_product, adjacency, x)


def _product(adjacency: Adjacency, x: Tensor) -> Tensor:
    from torch_scatter import segment_csr

    message = x[..., adjacency.col, :] * adjacency.weight.to(x.dtype).unsqueeze(-1)
    rowptr = adjacency.rowptr.view(*[1] * (x.dim() - 2), -1)
    out: Tensor = segment_csr(message, rowptr.expand(*x.shape[:-2], -1), reduce="sum")
    return out
