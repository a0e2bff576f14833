"""The ID view as it stands in its tables."""

import torch
from torch import Tensor, nn

from mentor_pyg.ops import unit_rows

__all__ = ["IDTables"]


class IDTables(nn.Module):
    r"""What :class:`~mentor_pyg.nn.ModalityEncoder` is without its two layers.

    Args:
        num_users: The number of users.
        embedding_dim: The width :math:`d` of users and items.

    Shapes:
        - **input:** items :math:`(|\mathcal{I}|, d)`
        - **output:** :math:`(|\mathcal{U}| + |\mathcal{I}|, d)`, users first, of unit length
    """

    def __init__(self, num_users: int, embedding_dim: int) -> None:
        super().__init__()
        self.user_preference = nn.Parameter(torch.empty(num_users, embedding_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        nn.init.xavier_normal_(self.user_preference)

    def forward(self, item: Tensor) -> Tensor:
        """Return users and items as rows of unit length."""
        return unit_rows(torch.cat([self.user_preference, item]))
