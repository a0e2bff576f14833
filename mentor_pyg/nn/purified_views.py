"""Raw features and ids -> users and items of every modality, as far as ids bear them out."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops import propagate
from mentor_pyg.typing import Modality

__all__ = ["PurifiedViews"]


class PurifiedViews(nn.Module):
    r"""Gate item ids by each modality, and spread them over item graphs and on to users.

    The purifier and the item views of `"MGCN" <https://arxiv.org/abs/2308.03588>`_. With item ids
    :math:`\mathbf{x}` and raw features :math:`\mathbf{F}_m`,

    .. math::
        \dot{\mathbf{h}}_{\mathcal{I}, m} = \mathbf{x} \odot \sigma\big((\mathbf{F}_m
        \mathbf{W}_{1,m} + \mathbf{b}_{1,m}) \mathbf{W}_{2,m} + \mathbf{b}_{2,m}\big), \qquad
        \mathbf{h}_{\mathcal{I}, m} = \mathbf{S}_m^n \dot{\mathbf{h}}_{\mathcal{I}, m}, \qquad
        \mathbf{h}_{\mathcal{U}, m} = \hat{\mathbf{R}} \mathbf{h}_{\mathcal{I}, m}

    Items that lack the modality start as zeros there.

    Args:
        channels: The widths of the raw item features of every modality.
        embedding_dim: The width :math:`d` of the ids.
        num_layers: The number of times :math:`n` that the item graphs are applied.
        backend: How :func:`mentor_pyg.ops.propagate` runs.

    Shapes:
        - **input:** ids :math:`(|\mathcal{I}|, d)`; per modality features
          :math:`(|\mathcal{I}|, C_m)`, bool presence :math:`(|\mathcal{I}|)` *(where some items
          lack it)* and the item graph; the matrix from items to users
        - **output:** users and items :math:`(|\mathcal{M}|, |\mathcal{U}| + |\mathcal{I}|, d)`
    """

    def __init__(
        self,
        channels: Mapping[Modality, int],
        embedding_dim: int,
        num_layers: int = 1,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if num_layers < 0:
            raise ValueError(f"'num_layers' needs to be at least 0 (got {num_layers})")
        self.num_layers, self.backend = num_layers, backend
        self.projections = nn.ModuleDict(
            {m: nn.Linear(c, embedding_dim) for m, c in channels.items()}
        )
        self.gates = nn.ModuleDict({m: nn.Linear(embedding_dim, embedding_dim) for m in channels})

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()

    def forward(
        self,
        ids: Tensor,
        features: Mapping[Modality, Tensor],
        present: Mapping[Modality, Tensor],
        item_graphs: Mapping[Modality, Adjacency],
        user_graph: Adjacency,
    ) -> Tensor:
        """Return every modality's users and items."""
        views = []
        for modality, projection in self.projections.items():
            view = ids * self.gates[modality](projection(features[modality])).sigmoid()
            if modality in present:
                view = view * present[modality].unsqueeze(-1)
            for _ in range(self.num_layers):
                view = propagate(item_graphs[modality], view, self.backend)
            views.append(view)
        items = torch.stack(views)
        return torch.cat([propagate(user_graph, items, self.backend), items], dim=1)

    def extra_repr(self) -> str:
        """Return what ``repr`` shows."""
        return f"num_layers={self.num_layers}, backend={self.backend!r}"
