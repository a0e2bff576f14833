"""One minus the cosine similarity."""

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["CosineLoss", "cosine_loss"]


def cosine_loss(prediction: Tensor, target: Tensor) -> Tensor:
    r"""Return :math:`\mathrm{mean}_i\, (1 - \cos(\mathbf{p}_i, \mathbf{t}_i))`.

    Args:
        prediction: Predicted rows ``[N, d]``.
        target: Rows to point to ``[N, d]``; pass them detached to stop the gradient.

    Returns:
        The mean over the rows, a scalar between 0 and 2. A zero row counts as 1.
    """
    return 1 - F.cosine_similarity(prediction, target, dim=-1).mean()


class CosineLoss(nn.Module):
    """:func:`cosine_loss` as a module."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of rows ``[N, d]``."""
        return cosine_loss(prediction, target)
