"""The reference: gather, weigh, add up."""

import torch
from torch import Tensor

from mentor_pyg.graph import Adjacency

__all__ = ["product", "unavailable"]


def unavailable(adjacency: Adjacency, x: Tensor) -> str | None:
    """Return why the backend cannot run on these inputs, or ``None``."""
    return None


def product(adjacency: Adjacency, x: Tensor) -> Tensor:
    """Equal ``adjacency.to_dense() @ x`` in plain torch, ``[..., num_sources, d]``."""
    message = x[..., adjacency.col, :] * adjacency.weight.to(x.dtype).unsqueeze(-1)
    out = x.new_zeros(*x.shape[:-2], adjacency.num_targets, x.size(-1))
    return torch.index_add(out, -2, adjacency.target, message)
