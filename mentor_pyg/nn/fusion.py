"""Modality views -> the fused view."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mentor_pyg.typing import Modality

__all__ = ["ModalityFusion"]


class ModalityFusion(nn.Module):
    r"""Put the modalities side by side, the users' ones weighed by learned per-user weights.

    .. math::
        \mathbf{h}_u = \big\Vert_m w_u^m \mathbf{h}_u^m, \qquad
        \mathbf{h}_i = \big\Vert_m \mathbf{h}_i^m

    Args:
        num_users: The number of users.
        modalities: The modalities, in the order in which they are put.
        softmax: Whether the weights of a user are kept a softmax of what is learned. Otherwise
            they start as one and are then free, as in MENTOR's released code.

    Shapes:
        - **input:** per modality, users :math:`(|\mathcal{U}|, d)` and items
          :math:`(|\mathcal{I}|, d)`
        - **output:** users :math:`(|\mathcal{U}|, |\mathcal{M}| d)` and items
          :math:`(|\mathcal{I}|, |\mathcal{M}| d)`
    """

    def __init__(
        self, num_users: int, modalities: Sequence[Modality], softmax: bool = True
    ) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.softmax = softmax
        self.weight = nn.Parameter(torch.empty(num_users, len(self.modalities)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        nn.init.xavier_normal_(self.weight)
        if not self.softmax:
            with torch.no_grad():
                self.weight.copy_(self.weight.softmax(dim=1))

    def user_modality_weight(self) -> Tensor:
        """Return the weights ``[num_users, num_modalities]`` that are in force."""
        return self.weight.softmax(dim=1) if self.softmax else self.weight

    def forward(
        self, user: Mapping[Modality, Tensor], item: Mapping[Modality, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the fused users and items."""
        weights = self.user_modality_weight().split(1, dim=1)  # [num_users, 1] each
        weighed = [w * user[m] for w, m in zip(weights, self.modalities, strict=True)]
        return torch.cat(weighed, dim=1), torch.cat([item[m] for m in self.modalities], dim=1)

    def extra_repr(self) -> str:
        """Return what ``repr`` shows."""
        return f"modalities={list(self.modalities)}, softmax={self.softmax}"
