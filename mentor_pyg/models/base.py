"""The protocol that every recommender keeps: encode, score, recommend, loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, Representations, num_items, num_users
from mentor_pyg.graph import ItemLists
from mentor_pyg.models.config import ModelConfig
from mentor_pyg.ops import recommend_items

__all__ = ["Recommender"]


class Recommender(nn.Module, ABC):
    """Base of all models.

    A model holds parameters and its config, nothing else: data comes in with every call and
    results go out as values.

    Args:
        num_users: The number of users that the model has parameters for.
        num_items: The number of items.
        config: The settings.
    """

    config: ModelConfig

    def __init__(self, num_users: int, num_items: int, config: ModelConfig) -> None:
        super().__init__()
        self.num_users = num_users
        self.num_items = num_items
        self.config = config

    @property
    def has_static_shapes(self) -> bool:
        """Whether the shapes in :meth:`loss` depend on the size of the batch alone."""
        return True

    @classmethod
    @abstractmethod
    def from_data(cls, data: HeteroData, config: Any = None) -> Self:
        """Build a model with fresh parameters for the users, items and features of ``data``."""

    @abstractmethod
    def encode(self, data: HeteroData) -> Representations:
        """Return the representations of all users and items, from the current parameters."""

    @abstractmethod
    def loss(
        self, data: HeteroData, user: Tensor, pos_item: Tensor, neg_item: Tensor
    ) -> dict[str, Tensor]:
        """Return the weighted loss terms by name; the training loss is their sum.

        Args:
            data: The dataset.
            user: User ids ``[batch]``.
            pos_item: Items that the users interacted with ``[batch]``.
            neg_item: Items that they did not ``[batch]``.
        """

    def score(self, reps: Representations, user: Tensor, item: Tensor) -> Tensor:
        """Return the dot product of fused users and items, over the last dimension.

        Args:
            reps: What :meth:`encode` gave.
            user: User ids of any shape.
            item: Item ids of a shape that broadcasts with the users'.
        """
        # Not by indexing, whose backward adds up in any order where there are several threads.
        users = F.embedding(user, reps.user["fused"])
        items = F.embedding(item, reps.item["fused"])
        return (users * items).sum(dim=-1)

    @torch.no_grad()
    def recommend(
        self, data: HeteroData, user: Tensor, k: int = 20, exclude_seen: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Return the best items for some users.

        The representations are encoded afresh; to serve many requests, export them once (see
        :mod:`mentor_pyg.export`).

        Args:
            data: The dataset.
            user: User ids ``[batch]``.
            k: The number of items.
            exclude_seen: Whether to leave out what the users interacted with in training.

        Returns:
            Item ids and scores, both ``[batch, k]``, best first. Ids are -1 where a user has
            fewer than ``k`` unseen items.

        Raises:
            TypeError: If ``data`` is no dataset.
            ValueError: If a user id or ``k`` is out of range.
        """
        if not isinstance(data, HeteroData):
            raise TypeError(
                f"'data' needs to be a HeteroData (got {type(data).__name__}); a model holds no "
                f"data of its own: call recommend(data, user, k), or recommend(user, k) of "
                f"mentor_pyg.EmbeddingTables.from_model(model, data)"
            )
        reps = self.encode(data)
        seen = None
        if exclude_seen:
            seen = ItemLists.from_edge_index(data[INTERACTS].edge_index, self.num_users)
        return recommend_items(reps.user["fused"], reps.item["fused"], user, k, seen)

    def check_fits(self, data: HeteroData) -> None:
        """Raise a ``ValueError`` if the model was built for other numbers of users or items."""
        got = (num_users(data), num_items(data))
        if got != (self.num_users, self.num_items):
            raise ValueError(
                f"'data' has {got[0]} users and {got[1]} items, but the model was built for "
                f"{self.num_users} and {self.num_items}; build one with "
                f"{type(self).__name__}.from_data(data, config)"
            )
