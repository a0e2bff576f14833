"""Raw features -> the nodes of one view."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ModalityEncoder"]


class ModalityEncoder(nn.Module):
    r"""Encode one view of all users and items.

    Items go through two linear layers with a LeakyReLU between, users are a learned preference
    table, and every row is scaled to unit length:

    .. math::
        \mathbf{x}_i = \mathbf{W}_2\, \mathrm{LeakyReLU}(\mathbf{W}_1 \mathbf{f}_i + \mathbf{b}_1)
        + \mathbf{b}_2

    Items that lack the modality become zeros here, so that all they hold comes from their
    neighbours.

    Args:
        in_channels: The width of the raw item features.
        embedding_dim: The width :math:`d` of the output; the hidden width is :math:`4d`.
        num_users: The number of users.

    Shapes:
        - **input:** item features :math:`(|\mathcal{I}|, C)`, bool presence
          :math:`(|\mathcal{I}|)` *(optional)*
        - **output:** :math:`(|\mathcal{U}| + |\mathcal{I}|, d)`, users first
    """

    def __init__(self, in_channels: int, embedding_dim: int, num_users: int) -> None:
        super().__init__()
        self.user_preference = nn.Parameter(torch.empty(num_users, embedding_dim))
        self.hidden = nn.Linear(in_channels, 4 * embedding_dim)
        self.output = nn.Linear(4 * embedding_dim, embedding_dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        nn.init.xavier_normal_(self.user_preference)
        self.hidden.reset_parameters()
        self.output.reset_parameters()

    def forward(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """Return users and items as rows of unit length (or zeros)."""
        item = self.output(F.leaky_relu(self.hidden(x)))
        if present is not None:
            item = item * present.unsqueeze(-1)
        return F.normalize(torch.cat([self.user_preference, item]))
