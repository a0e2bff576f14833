"""The best unseen items of a block of users."""

import torch
from torch import Tensor

from mentor_pyg.graph import ItemLists

__all__ = ["masked_topk", "recommend_items"]


def masked_topk(
    user: Tensor,
    item: Tensor,
    k: int,
    seen: tuple[Tensor, Tensor] | None = None,
    *,
    buffer: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Rank items by dot product, leaving out the ones seen.

    Args:
        user: User representations ``[batch, width]``.
        item: Item representations ``[num_items, width]``.
        k: The number of items to return.
        seen: Rows of ``user`` and item ids to leave out, two tensors ``[num_seen]``.
        buffer: Memory for the scores ``[at least batch, num_items]``, for a caller who ranks many
            blocks: fresh memory for each costs more than the product that fills it. Only where
            no gradient is recorded.

    Returns:
        Scores and item ids, both ``[batch, k]``, best first. A user with fewer than ``k`` unseen
        items gets seen ones at the end, with a score of minus infinity.

    Raises:
        ValueError: If ``k`` is not between 1 and the number of items.
    """
    if not 0 < k <= item.size(0):
        raise ValueError(
            f"'k' needs to be a positive integer up to the number of items, {item.size(0)} "
            f"(got {k})"
        )
    if buffer is None:
        score = user @ item.t()  # [batch, num_items]
    else:
        score = torch.mm(user, item.t(), out=buffer[: user.size(0)])
    if seen is not None:
        score.view(-1)[seen[0] * item.size(0) + seen[1]] = -torch.inf
    top = score.topk(k, dim=1)
    return top.values, top.indices


def recommend_items(
    user_table: Tensor, item_table: Tensor, user: Tensor, k: int, seen: ItemLists | None = None
) -> tuple[Tensor, Tensor]:
    """Recommend items to some users of a table.

    Args:
        user_table: User representations ``[num_users, width]``.
        item_table: Item representations ``[num_items, width]``.
        user: User ids ``[batch]``, on any device.
        k: The number of items.
        seen: What to leave out, on the device of the tables.

    Returns:
        Item ids and scores, both ``[batch, k]``, best first. Ids are -1 where a user has fewer
        than ``k`` unseen items.

    Raises:
        ValueError: If a user id or ``k`` is out of range.
    """
    user = torch.as_tensor(user, device=user_table.device)
    if user.dim() != 1 or user.is_floating_point() or user.dtype == torch.bool:
        raise ValueError(
            f"'user' needs to be integer ids of shape [batch] "
            f"(got {user.dtype} of shape {list(user.shape)})"
        )
    if user.numel() and not 0 <= int(user.min()) <= int(user.max()) < user_table.size(0):
        raise ValueError(
            f"'user' needs ids from 0 to {user_table.size(0) - 1} "
            f"(got {int(user.min())} to {int(user.max())})"
        )
    score, item = masked_topk(
        user_table[user], item_table, k, None if seen is None else seen.of(user)
    )
    return item.masked_fill(score == -torch.inf, -1), score
