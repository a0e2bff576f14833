"""The reference: all similarities at once, with autograd's own backward."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.typing import Precision

__all__ = ["info_nce", "unavailable"]


def unavailable(view: Tensor, temperature: float | Tensor, precision: Precision) -> str | None:
    """Return why the backend cannot run on such views, or ``None``."""
    return None if precision == "ieee" else "it has no other than ieee"


def info_nce(
    view_a: Tensor, view_b: Tensor, temperature: float | Tensor, precision: Precision
) -> Tensor:
    """Return the loss of two views ``[N, d]``, not normalised, in float32 at least."""
    # Half precision overflows in the exponential and loses small terms in sums over N.
    dtype = torch.promote_types(view_a.dtype, torch.float32)
    a, b = F.normalize(view_a.to(dtype)), F.normalize(view_b.to(dtype))
    return F.cross_entropy(a @ b.t() / temperature, torch.arange(len(a), device=a.device))
