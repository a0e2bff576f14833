"""What one training step is about."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Batch", "UserBatch"]


class Batch(NamedTuple):
    """Ids of users, of items they interacted with, and of items they did not, all ``[batch]``."""

    user: Tensor
    pos_item: Tensor
    neg_item: Tensor


class UserBatch(Batch):
    """All interactions of some users, those of a user one after the other."""
