"""Raw features -> the nodes of one view."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mentor_pyg.ops import unit_rows

__all__ = ["ModalityEncoder", "encode_together"]


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
        return self._from_hidden(self.hidden(x), present)

    def items(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """Return the items before they are scaled ``[num_items, d]``."""
        return self._items(self.hidden(x), present)

    def _from_hidden(self, hidden: Tensor, present: Tensor | None) -> Tensor:
        return unit_rows(torch.cat([self.user_preference, self._items(hidden, present)]))

    def _items(self, hidden: Tensor, present: Tensor | None) -> Tensor:
        item: Tensor = self.output(F.leaky_relu(hidden))
        return item if present is None else item * present.unsqueeze(-1)


def encode_together(
    encoders: Mapping[str, ModalityEncoder], x: Tensor, present: Tensor | None = None
) -> dict[str, Tensor]:
    """Encode the same features by several encoders, reading them once.

    One product takes the place of the encoders' first layers, which are most of the work where
    features are wide. It takes their weights: what is hooked onto a first layer or put in its
    place does not run.

    Args:
        encoders: Encoders of the width of the features, by name.
        x: The raw item features ``[num_items, C]``.
        present: Which items have the modality ``[num_items]``.

    Returns:
        What each of the encoders gives by itself, up to rounding, under its name.
    """
    if len(encoders) == 1:
        return {name: encoder(x, present) for name, encoder in encoders.items()}
    weight = torch.cat([encoder.hidden.weight for encoder in encoders.values()])
    bias = torch.cat([encoder.hidden.bias for encoder in encoders.values()])
    widths = [encoder.hidden.out_features for encoder in encoders.values()]
    hidden = F.linear(x, weight, bias).split(widths, dim=1)
    return {
        name: encoder._from_hidden(h, present)
        for (name, encoder), h in zip(encoders.items(), hidden, strict=True)
    }
