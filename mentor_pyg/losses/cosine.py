"""One minus the cosine similarity."""

import torch.nn.functional as F
from torch import Tensor

__all__ = ["cosine_loss"]


def cosine_loss(prediction: Tensor, target: Tensor) -> Tensor:
    r"""Return :math:`\mathrm{mean}_i\, (1 - \cos(\mathbf{p}_i, \mathbf{t}_i))`.

    Args:
        prediction: Predicted rows ``[N, d]``.
        target: Rows to point to ``[N, d]``; pass them detached to stop the gradient.

    Returns:
        The mean over the rows, a scalar between 0 and 2. A zero row counts as 1.

    Raises:
        ValueError: If the shapes differ.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"'prediction' and 'target' need one shape [N, d] "
            f"(got {list(prediction.shape)} and {list(target.shape)})"
        )
    return 1 - F.cosine_similarity(prediction, target, dim=-1).mean()
