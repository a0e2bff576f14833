"""What a model's ``encode`` returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mentor_pyg.typing import View

__all__ = ["Representations"]


@dataclass(frozen=True)
class Representations:
    """User and item representations, one pair of tensors per view.

    Args:
        user: Per view a tensor ``[num_users, width]``.
        item: Per view a tensor ``[num_items, width]``. The views are the same as the users':
            ``"fused"`` always, which ranking uses; ``"id"`` and one per modality where the
            model has them.
    """

    user: Mapping[View, Tensor]
    item: Mapping[View, Tensor]

    def __post_init__(self) -> None:
        if set(self.user) != set(self.item):
            raise ValueError(
                f"users and items need the same views "
                f"(got {sorted(self.user)} and {sorted(self.item)})"
            )

    @property
    def views(self) -> tuple[View, ...]:
        """The names of the views."""
        return tuple(self.user)

    def nodes(self, view: View) -> Tensor:
        """Return a view's users and items as one tensor ``[num_users + num_items, width]``."""
        return torch.cat([self.user[view], self.item[view]])

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
