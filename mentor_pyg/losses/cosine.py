"""One minus the cosine similarity."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.ops import nonzero_rows

__all__ = ["cosine_loss"]


def cosine_loss(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Return :math:`\mathrm{mean}_i\, (1 - \cos(\mathbf{p}_i, \mathbf{t}_i))`.

    Args:
        prediction: Predicted rows ``[N, d]``.
        target: Rows to point to ``[N, d]``; pass them detached to stop the gradient.
        mask: Which rows count, bool ``[N]``; all if not given.

    Returns:
        The mean over the rows that count, a scalar between 0 and 2; 0 where none does. A zero row
        counts as 1 and has no gradient, which would be one divided by nothing. It is computed in
        float32 at least, under autocast too.

    Raises:
        ValueError: If the shapes differ.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"'prediction' and 'target' need one shape [N, d] "
            f"(got {list(prediction.shape)} and {list(target.shape)})"
        )
    dtype = torch.promote_types(torch.promote_types(prediction.dtype, target.dtype), torch.float32)
    prediction, target = prediction.to(dtype), target.to(dtype)
    held = (nonzero_rows(prediction) & nonzero_rows(target)).squeeze(-1)
    cosine = F.cosine_similarity(prediction, target, dim=-1).masked_fill(~held, 0.0)
    if mask is None:
        return 1 - cosine.mean()
    if mask.shape != cosine.shape:
        raise ValueError(
            f"'mask' needs the shape {list(cosine.shape)}, one entry for each row "
            f"(got {list(mask.shape)})"
        )
    # By a count rather than by an index, whose shape would wait for the device.
    return (1 - cosine).masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)
