"""Negatives that are negative, without rejection."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["UniformNegativeSampler"]


class UniformNegativeSampler:
    """Draw for every user, uniformly, an item that the user has not interacted with.

    Only items that occur in the interactions are drawn. Nothing is rejected and redrawn: a
    user's ``r``-th unseen candidate is found by one binary search, so that a batch costs a fixed
    number of operations, on any device, without waiting for it.

    Args:
        edge_index: Interactions ``[2, num_interactions]`` of (user, item).
        num_users: The number of users.
        num_items: The number of items.

    Raises:
        ValueError: If there are no interactions, or a user has seen every candidate.
    """

    def __init__(self, edge_index: Tensor, num_users: int, num_items: int) -> None:
        if edge_index.size(1) == 0:
            raise ValueError("'edge_index' needs at least one interaction (got none)")
        key = (edge_index[0] * num_items + edge_index[1]).unique()  # Sorted by user, then item.
        user, item = key // num_items, key % num_items
        candidates, rank = item.unique(return_inverse=True)
        count = torch.bincount(user, minlength=num_users)
        if int((count == candidates.numel()).sum()):
            full = int((count == candidates.numel()).nonzero()[0])
            raise ValueError(
                f"user {full} has interacted with all {candidates.numel()} items that occur in "
                f"the interactions, so there is no negative to draw; leave the user out"
            )
        self._start = torch.cat([count.new_zeros(1), count.cumsum(0)])
        self._candidates = candidates
        self._num_unseen = candidates.numel() - count
        # Before a user's j-th seen candidate, of rank s_j, lie s_j - j unseen ones. The offset per
        # user keeps these numbers ascending over the whole tensor.
        position = torch.arange(key.numel(), device=key.device) - self._start[user]
        self._stride = candidates.numel() + 1
        self._unseen_before = user * self._stride + rank - position

    def sample(self, user: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return one unseen item for every entry of ``user``.

        Args:
            user: User ids ``[batch]``, on the device of the interactions.
            generator: Where the random numbers come from; torch's default one if not given.

        Returns:
            Item ids ``[batch]``.
        """
        draw = torch.rand(user.shape, generator=generator, dtype=torch.float64, device=user.device)
        unseen = self._num_unseen[user]
        r = (draw * unseen).long().clamp_(max=unseen - 1)
        passed = torch.searchsorted(self._unseen_before, user * self._stride + r, right=True)
        return self._candidates[r + passed - self._start[user]]
