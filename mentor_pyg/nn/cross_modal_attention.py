"""All modalities of a node -> one row, the mean of what each sees of the others."""

import math

import torch
from torch import Tensor, nn

__all__ = ["CrossModalAttention"]


class CrossModalAttention(nn.Module):
    r"""Have the modalities of a node attend to each other, and take the mean.

    The cross-modal dependency encoder of `"MMSSL" <https://arxiv.org/abs/2302.10632>`_. For head
    :math:`h`, with queries and keys of width :math:`d / H` and values of width :math:`d`,

    .. math::
        \bar{\mathbf{e}} = \Big( \big\Vert_{h=1}^{H} \sum_{m'} \Big( \tfrac{1}{|\mathcal{M}|}
        \sum_m \mathrm{softmax}_{m'} \Big( \frac{\mathbf{e}^m \mathbf{W}_Q^h \cdot
        \mathbf{e}^{m'} \mathbf{W}_K^h} {\sqrt{d / H}} \Big) \Big)\, \mathbf{e}^{m'} \Big)
        \mathbf{W}

    which is the mean over modalities :math:`m` of what each attends to, taken before the products
    rather than after them.

    Args:
        embedding_dim: The width :math:`d`.
        num_heads: The number of heads :math:`H`, a divisor of the width.

    Shapes:
        - **input:** nodes :math:`(|\mathcal{M}|, N, d)`
        - **output:** nodes :math:`(N, d)`

    Raises:
        ValueError: If the heads do not divide the width.
    """

    def __init__(self, embedding_dim: int, num_heads: int = 4) -> None:
        super().__init__()
        if num_heads < 1 or embedding_dim % num_heads:
            raise ValueError(
                f"'num_heads' needs to divide the width, {embedding_dim} (got {num_heads})"
            )
        self.num_heads = num_heads
        self.query = nn.Parameter(torch.empty(embedding_dim, embedding_dim))
        self.key = nn.Parameter(torch.empty(embedding_dim, embedding_dim))
        self.output = nn.Parameter(torch.empty(num_heads * embedding_dim, embedding_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for weight in (self.query, self.key, self.output):
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean over modalities of what each attends to."""
        heads = (self.num_heads, -1)
        query = (x @ self.query).unflatten(-1, heads)  # [modalities, N, heads, d / heads]
        key = (x @ self.key).unflatten(-1, heads)
        score = torch.einsum("anhk,bnhk->abnh", query, key) / math.sqrt(query.size(-1))
        mixed = torch.einsum("bnh,bnd->nhd", score.softmax(dim=1).mean(dim=0), x)
        return mixed.flatten(-2) @ self.output

    def extra_repr(self) -> str:
        """Return what ``repr`` shows."""
        return f"{self.query.size(0)}, num_heads={self.num_heads}"
