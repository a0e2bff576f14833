"""What ranks items for users, and the representations that most models do it with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.data.schema import FUSED
from mentor_pyg.typing import View

__all__ = ["Representations", "Scorer"]


@runtime_checkable
class Scorer(Protocol):
    """Scores of all items for any users: what evaluation, recommendation and export rank by."""

    @property
    def num_users(self) -> int:
        """The number of users."""

    @property
    def num_items(self) -> int:
        """The number of items."""

    def scores(self, user: Tensor) -> Tensor:
        """Return the scores of all items, finite ones, for some users.

        Args:
            user: User ids ``[batch]``, int64, on any device.

        Returns:
            ``[batch, num_items]``, in memory that the caller may overwrite.
        """


@dataclass(frozen=True, eq=False)
class Representations:
    """User and item representations, one tensor per view and side; a :class:`Scorer`.

    Args:
        user: Per view a tensor ``[num_users, width]``. The view ``"fused"`` ranks and is
            required; ``"id"`` and one per modality stand beside it where the model has them.
        item: Per view a tensor ``[num_items, width]``: ``"fused"``, of the users' width, and
            views that need not be the users'.

    Raises:
        ValueError: If a side has no fused view, or the widths of the two differ.
    """

    user: Mapping[View, Tensor]
    item: Mapping[View, Tensor]

    def __post_init__(self) -> None:
        for side, views in (("user", self.user), ("item", self.item)):
            if FUSED not in views:
                raise ValueError(f"'{side}' needs the view 'fused', which ranks (got {[*views]})")
        user, item = self.user[FUSED], self.item[FUSED]
        if user.dim() != 2 or item.dim() != 2 or user.size(1) != item.size(1):
            raise ValueError(
                f"the fused view needs users [num_users, width] and items [num_items, width] of "
                f"one width (got {list(user.shape)} and {list(item.shape)})"
            )

    @classmethod
    def from_nodes(cls, nodes: Mapping[View, Tensor], num_users: int) -> Self:
        """Take views that hold users and items as one tensor, as :meth:`nodes` gives them.

        Args:
            nodes: Per view a tensor ``[num_users + num_items, width]``, users first.
            num_users: The number of users.
        """
        user = {view: x[:num_users] for view, x in nodes.items()}
        return cls(user, {view: x[num_users:] for view, x in nodes.items()})

    @property
    def num_users(self) -> int:
        """The number of users."""
        return self.user[FUSED].size(0)

    @property
    def num_items(self) -> int:
        """The number of items."""
        return self.item[FUSED].size(0)

    @property
    def views(self) -> tuple[View, ...]:
        """The names of the views that users and items both have."""
        return tuple(view for view in self.user if view in self.item)

    def nodes(self, view: View) -> Tensor:
        """Return a view's users and items as one tensor ``[num_users + num_items, width]``."""
        return torch.cat([self.user[view], self.item[view]])

    def scores(self, user: Tensor, *, out: Tensor | None = None) -> Tensor:
        """Return the dot products of some users and all items, of the fused view.

        Args:
            user: User ids ``[batch]``, int64, on any device.
            out: Memory for them ``[at least batch, num_items]``, for a caller who scores many
                blocks of users: fresh memory for each costs more than the product that fills it.
                Only where no gradient is recorded.

        Returns:
            ``[batch, num_items]``, in memory of its own or in ``out``.
        """
        users, items = self.user[FUSED], self.item[FUSED].t()
        rows = _rows(users, user.to(users.device))
        return rows @ items if out is None else torch.mm(rows, items, out=out[: user.numel()])

    def pair_scores(self, user: Tensor, item: Tensor) -> Tensor:
        """Return the dot products of users and items, of the fused view.

        Args:
            user: User ids of any shape.
            item: Item ids of a shape that broadcasts with the users'.
        """
        return (_rows(self.user[FUSED], user) * _rows(self.item[FUSED], item)).sum(dim=-1)

    def to(self, device: torch.device | str) -> Representations:
        """Return the same representations on ``device``."""
        return self._map(lambda x: x.to(device))

    def detach(self) -> Representations:
        """Return the same representations without gradient history."""
        return self._map(Tensor.detach)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Representations:
        return Representations(
            user={view: function(x) for view, x in self.user.items()},
            item={view: function(x) for view, x in self.item.items()},
        )


def _rows(table: Tensor, index: Tensor) -> Tensor:
    # Not by indexing, whose backward adds up in any order where there are several threads.
    return F.embedding(index, table)
