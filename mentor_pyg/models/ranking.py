"""What a trained model ranks by: its loss, and the representations that answer to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.config import Config, Positive
from mentor_pyg.data import FUSED, Batch, Representations, UserBatch
from mentor_pyg.losses import Similarity, bpr_loss, softmax_loss
from mentor_pyg.typing import Precision

__all__ = ["RankingConfig", "as_ranked", "batch_mean_squares", "batch_penalty", "ranking_terms"]


@dataclass(frozen=True, kw_only=True)
class RankingConfig(Config):
    """Settings of the ranking loss."""

    ranking_loss: Literal["bpr", "softmax"] = "bpr"
    """``"bpr"``: against one negative. ``"softmax"``: against all items, exactly."""
    ranking_similarity: Similarity = "cosine"
    """What the softmax compares, and the model then ranks by; BPR takes dot products."""
    ranking_temperature: Positive = 0.3
    """Temperature of the softmax."""
    precision: Precision = "ieee"
    """What the products of softmax and contrast are rounded to, see
    :func:`mentor_pyg.losses.softmax_loss`."""


def ranking_terms(
    reps: Representations, batch: Batch, config: RankingConfig, log_base: float = math.e
) -> dict[str, Tensor]:
    """Return the ranking loss of the fused view under its name, ``bpr`` or ``softmax``.

    Args:
        reps: What the model's ``represent`` gave.
        batch: The batch; softmax has no use for its negatives.
        config: The model's settings.
        log_base: The base of BPR's logarithm.
    """
    if config.ranking_loss == "bpr":
        pos_score = reps.pair_scores(batch.user, batch.pos_item)
        neg_score = reps.pair_scores(batch.user, batch.neg_item)
        return {"bpr": bpr_loss(pos_score, neg_score, log_base)}
    user, row = batch.user, None
    if isinstance(batch, UserBatch):  # A user is one query, however many items it has.
        user, row = user.unique_consecutive(return_inverse=True)
    loss = softmax_loss(
        F.embedding(user, reps.user[FUSED]),
        batch.pos_item,
        reps.item[FUSED],
        config.ranking_temperature,
        precision=config.precision,
        similarity=config.ranking_similarity,
        row=row,
    )
    return {"softmax": loss}


def as_ranked(reps: Representations, config: RankingConfig) -> Representations:
    """Return representations whose dot products are what the ranking loss compares."""
    if config.ranking_loss == "bpr" or config.ranking_similarity == "dot":
        return reps
    user, item = ({FUSED: F.normalize(side[FUSED])} for side in (reps.user, reps.item))
    return Representations({**reps.user, **user}, {**reps.item, **item})


def batch_penalty(
    user: Tensor | Sequence[Tensor],
    item: Tensor | Sequence[Tensor],
    batch: Batch,
    config: RankingConfig,
) -> Tensor:
    """Return half the squared length of the batch's rows, averaged over the batch.

    Negatives count where the ranking loss looks at them.

    Args:
        user: A row for every user ``[num_users, d]``, or parts of it in several tables.
        item: A row for every item ``[num_items, d]``, or parts of it in several tables.
        batch: The batch.
        config: The model's settings.
    """
    users, items = ([x] if isinstance(x, Tensor) else x for x in (user, item))
    rows = [F.embedding(batch.user, table) for table in users]
    rows += [F.embedding(batch.pos_item, table) for table in items]
    if config.ranking_loss == "bpr":
        rows += [F.embedding(batch.neg_item, table) for table in items]
    total = torch.stack([row.square().sum() for row in rows]).sum()
    return total / (2 * batch.user.numel())


def batch_mean_squares(user: Tensor, item: Tensor, batch: Batch, config: RankingConfig) -> Tensor:
    """Return the mean square of the entries of the batch's users' rows, and that of its items'.

    Negatives count where the ranking loss looks at them.

    Args:
        user: A row for every user ``[num_users, d]``.
        item: A row for every item ``[num_items, d]``.
        batch: The batch.
        config: The model's settings.
    """
    items = batch.pos_item
    if config.ranking_loss == "bpr":
        items = torch.cat([items, batch.neg_item])
    return F.embedding(batch.user, user).square().mean() + F.embedding(items, item).square().mean()
