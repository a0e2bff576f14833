"""Models with a table of ids for users and one for items."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mentor_pyg.data import Sizes
from mentor_pyg.models.base import Recommender

__all__ = ["EmbeddingRecommender"]


class EmbeddingRecommender(Recommender):
    """Base of the models that learn an embedding of every user and every item.

    Args:
        sizes: The numbers of users and items.
        config: The settings; by default the config's defaults.
    """

    def __init__(self, sizes: Sizes, config: Any = None) -> None:
        super().__init__(sizes, config)
        dim = self.config.embedding_dim
        self.user_embedding = nn.Parameter(torch.empty(self.num_users, dim))
        self.item_embedding = nn.Parameter(torch.empty(self.num_items, dim))

    def reset_parameters(self) -> None:
        """Draw all parameters anew; here the two tables, which subclasses draw first."""
        super().reset_parameters()
        nn.init.xavier_uniform_(self.user_embedding)
        nn.init.xavier_uniform_(self.item_embedding)

    @property
    def ids(self) -> Tensor:
        """The embeddings of users, then of items ``[num_users + num_items, d]``."""
        return torch.cat([self.user_embedding, self.item_embedding])
