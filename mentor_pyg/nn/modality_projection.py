"""Raw features -> rows of the width of the ids' embeddings."""

import torch
from torch import Tensor, nn

__all__ = ["ModalityProjection"]


class ModalityProjection(nn.Module):
    r"""Project the features of one modality, :math:`\mathbf{W} \mathbf{f}_i` or with a bias.

    Items that lack the modality become zeros.

    Args:
        in_channels: The width of the raw item features.
        embedding_dim: The width of the output.
        bias: Whether a bias is added.

    Shapes:
        - **input:** item features :math:`(N, C)`, bool presence :math:`(N)` *(optional)*
        - **output:** :math:`(N, d)`
    """

    def __init__(self, in_channels: int, embedding_dim: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(embedding_dim, in_channels))
        self.bias = nn.Parameter(torch.empty(embedding_dim)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight anew and set the bias to zero."""
        nn.init.xavier_normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """Return the projected rows."""
        out = nn.functional.linear(x, self.weight, self.bias)
        return out if present is None else out.masked_fill(~present.unsqueeze(-1), 0.0)

    def extra_repr(self) -> str:
        """Return what ``repr`` shows."""
        width, channels = self.weight.shape
        return f"{channels}, {width}, bias={self.bias is not None}"
