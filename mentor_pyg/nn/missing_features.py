"""Learned features for items that lack a modality."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mentor_pyg.typing import Modality

__all__ = ["MissingFeatures"]


class MissingFeatures(nn.Module):
    r"""Put a learned vector in the place of the features that items lack, one per modality.

    .. math::
        \mathbf{f}_i^m \leftarrow \mathbf{v}_m \qquad \text{where item } i \text{ lacks } m

    Args:
        channels: The widths of the raw item features of every modality.

    Shapes:
        - **input:** per modality features :math:`(|\mathcal{I}|, C_m)`, bool presence
          :math:`(|\mathcal{I}|)` *(where some items lack it)*
        - **output:** per modality features :math:`(|\mathcal{I}|, C_m)`
    """

    def __init__(self, channels: Mapping[Modality, int]) -> None:
        super().__init__()
        self.vectors = nn.ParameterDict(
            {m: nn.Parameter(torch.empty(c)) for m, c in channels.items()}
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the vectors anew, about one long."""
        for vector in self.vectors.values():
            nn.init.normal_(vector, std=vector.numel() ** -0.5)

    def forward(
        self, features: Mapping[Modality, Tensor], present: Mapping[Modality, Tensor]
    ) -> dict[Modality, Tensor]:
        """Return the features of all items."""
        return {
            m: torch.where(present[m].unsqueeze(-1), x, self.vectors[m]) if m in present else x
            for m, x in features.items()
        }
