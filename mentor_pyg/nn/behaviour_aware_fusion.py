"""Views of every modality -> one, by how nodes behave."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mentor_pyg.ops import nonzero_rows, sum_of_products
from mentor_pyg.typing import Modality

__all__ = ["BehaviourAwareFusion"]


class BehaviourAwareFusion(nn.Module):
    r"""Add up what all modalities share and what each has of its own, as far as it is preferred.

    The fuser of `"MGCN" <https://arxiv.org/abs/2308.03588>`_. With the views :math:`\mathbf{h}_m`
    and the behaviour :math:`\mathbf{h}_{id}` of a node,

    .. math::
        \mathbf{h}_s &= \textstyle\sum_m \alpha_m \mathbf{h}_m, \qquad
        \alpha_m = \mathrm{softmax}_m\,
        \mathbf{q}^\top \tanh(\mathbf{W}_3 \mathbf{h}_m + \mathbf{b}_3) \\
        \mathbf{h} &= \tfrac{1}{|\mathcal{M}| + 1} \big(\mathbf{h}_s + \textstyle\sum_m
        (\mathbf{h}_m - \mathbf{h}_s) \odot
        \sigma(\mathbf{W}_{4,m} \mathbf{h}_{id} + \mathbf{b}_{4,m})\big)

    Rows of zeros, those of a node that lacks a modality, take no part.

    Args:
        modalities: The modalities, in the order of the views.
        embedding_dim: The width :math:`d`.

    Shapes:
        - **input:** views :math:`(|\mathcal{M}|, N, d)`, behaviour :math:`(N, d)`
        - **output:** :math:`(N, d)`
    """

    def __init__(self, modalities: Iterable[Modality], embedding_dim: int) -> None:
        super().__init__()
        dim = embedding_dim
        self.query = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1, bias=False))
        self.preferences = nn.ModuleDict({m: nn.Linear(dim, dim) for m in modalities})

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()

    def forward(self, views: Tensor, behaviour: Tensor) -> Tensor:
        """Return the fused rows."""
        held = nonzero_rows(views)
        score = self.query(views)  # Of another type than the views under autocast.
        score = score.masked_fill(~held, torch.finfo(score.dtype).min)
        shared = sum_of_products(score.softmax(dim=0), views)
        gates = [gate(behaviour).sigmoid() for gate in self.preferences.values()]
        own = (views - shared) * held
        return (shared + sum_of_products(gates, own)) / (len(views) + 1)
