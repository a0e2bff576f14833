"""Matrix factorisation with the BPR loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from mentor_pyg.data import Representations, num_items, num_users
from mentor_pyg.losses import bpr_loss
from mentor_pyg.models.base import Recommender
from mentor_pyg.models.config import ModelConfig, check_at_least_zero

__all__ = ["BPRMF", "BPRMFConfig"]


@dataclass(frozen=True, kw_only=True)
class BPRMFConfig(ModelConfig):
    """Settings of :class:`BPRMF`."""

    reg_weight: float = 1e-4
    """Weight of the batch's squared embeddings."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_zero(self, "reg_weight")


class BPRMF(Recommender):
    r"""Users and items as two embedding tables, ranked by their dot product.

    From `"BPR: Bayesian Personalized Ranking from Implicit Feedback"
    <https://arxiv.org/abs/1205.2618>`_.

    Args:
        num_users: The number of users.
        num_items: The number of items.
        config: The settings.
    """

    config: BPRMFConfig

    def __init__(self, num_users: int, num_items: int, config: BPRMFConfig | None = None) -> None:
        super().__init__(num_users, num_items, config or BPRMFConfig())
        self.user_embedding = nn.Parameter(torch.empty(num_users, self.config.embedding_dim))
        self.item_embedding = nn.Parameter(torch.empty(num_items, self.config.embedding_dim))
        self.reset_parameters()

    @classmethod
    def from_data(cls, data: HeteroData, config: BPRMFConfig | None = None) -> Self:
        """Build a model with fresh parameters."""
        return cls(num_users(data), num_items(data), config)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        nn.init.xavier_uniform_(self.user_embedding)
        nn.init.xavier_uniform_(self.item_embedding)

    def encode(self, data: HeteroData) -> Representations:
        """Return the two tables as the fused view."""
        self.check_fits(data)
        return Representations({"fused": self.user_embedding}, {"fused": self.item_embedding})

    def loss(
        self, data: HeteroData, user: Tensor, pos_item: Tensor, neg_item: Tensor
    ) -> dict[str, Tensor]:
        """Return the terms ``bpr`` and ``reg``."""
        reps = self.encode(data)
        pos_score = self.score(reps, user, pos_item)
        neg_score = self.score(reps, user, neg_item)
        return {
            "bpr": bpr_loss(pos_score, neg_score),
            "reg": self.config.reg_weight * self.embedding_penalty(user, pos_item, neg_item),
        }

    def embedding_penalty(self, user: Tensor, pos_item: Tensor, neg_item: Tensor) -> Tensor:
        """Return half the squared length of the batch's embeddings, averaged over the batch."""
        rows = (
            F.embedding(user, self.user_embedding),
            F.embedding(pos_item, self.item_embedding),
            F.embedding(neg_item, self.item_embedding),
        )
        total = torch.stack([row.square().sum() for row in rows]).sum()
        return total / (2 * user.numel())
