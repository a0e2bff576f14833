"""The items of every user, one list after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

__all__ = ["ItemLists"]


@dataclass(frozen=True, eq=False)
class ItemLists:
    """Interactions grouped by user, for looking up the items of a block of users.

    Args:
        start: Where each user's items start ``[num_users + 1]``.
        item: Items, user after user ``[num_interactions]``.
    """

    start: Tensor
    item: Tensor

    @classmethod
    def from_edge_index(cls, edge_index: Tensor, num_users: int) -> Self:
        """Group interactions ``[2, num_interactions]`` of (user, item), in any order."""
        user, item = edge_index
        count = torch.bincount(user, minlength=num_users)
        start = torch.cat([count.new_zeros(1), count.cumsum(0)])
        return cls(start, item[user.argsort(stable=True)])

    @property
    def count(self) -> Tensor:
        """The number of items of every user ``[num_users]``."""
        return self.start.diff()

    def of(self, user: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows of ``user`` (ascending) and the items of the user there, ``[num_found]``.

        Args:
            user: User ids ``[batch]``, in any order and also repeated.
        """
        start = self.start[user]
        count = self.start[user + 1] - start
        row = torch.arange(user.numel(), device=user.device).repeat_interleave(count)
        first = count.cumsum(0) - count
        position = torch.arange(row.numel(), device=user.device) - first[row]
        return row, self.item[start[row] + position]
