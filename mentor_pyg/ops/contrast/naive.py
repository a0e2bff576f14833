"""The reference: all scores at once, with autograd's own backward."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.typing import Precision

__all__ = ["cross_entropy", "unavailable"]


def unavailable(rows: Tensor, precision: Precision) -> str | None:
    """Return why the backend cannot run on such rows, or ``None``."""
    return None if precision == "ieee" else "it has no other than ieee"


def cross_entropy(
    query: Tensor,
    table: Tensor,
    target: Tensor,
    row: Tensor | None,
    left_out: Tensor | None,
    temperature: float,
    precision: Precision,
    unit_rows: bool,
) -> Tensor:
    """Return the loss, see :class:`~mentor_pyg.ops.contrast.ContrastBackend`."""
    scores = query @ table.t() / temperature  # [B, N]
    if left_out is not None:
        scores = scores.scatter(1, left_out.unsqueeze(1), -torch.inf)
    return F.cross_entropy(scores if row is None else scores[row], target)
