"""Contrast of two views of what is in a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.data import Batch, UserBatch
from mentor_pyg.losses import info_nce
from mentor_pyg.typing import Precision

__all__ = ["batch_contrast", "batch_users"]


def batch_users(batch: Batch) -> Tensor:
    """Return the users of a batch; of a :class:`~mentor_pyg.data.UserBatch` every one once."""
    return batch.user.unique_consecutive() if isinstance(batch, UserBatch) else batch.user


def batch_contrast(
    view_a: tuple[Tensor, Tensor],
    view_b: tuple[Tensor, Tensor],
    batch: Batch,
    temperature: float,
    precision: Precision,
) -> Tensor:
    """Return InfoNCE over the users, see :func:`batch_users`, plus that over the positive items.

    Args:
        view_a: The anchors, of users ``[num_users, d]`` and items ``[num_items, d]``.
        view_b: What they are contrasted with, of the same shapes.
        batch: The batch.
        temperature: The temperature.
        precision: See :func:`~mentor_pyg.losses.info_nce`.
    """
    losses = []
    for node, a, b in zip((batch_users(batch), batch.pos_item), view_a, view_b, strict=True):
        rows = F.embedding(node, a), F.embedding(node, b)
        losses.append(info_nce(*rows, temperature, precision=precision))
    return torch.stack(losses).sum()
