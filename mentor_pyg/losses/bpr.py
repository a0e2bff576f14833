"""Bayesian personalised ranking."""

import math

import torch.nn.functional as F
from torch import Tensor

__all__ = ["bpr_loss"]


def bpr_loss(pos_score: Tensor, neg_score: Tensor, log_base: float = math.e) -> Tensor:
    r"""Return :math:`-\mathrm{mean}\, \log \sigma(s^+ - s^-)`.

    From `"BPR: Bayesian Personalized Ranking from Implicit Feedback"
    <https://arxiv.org/abs/1205.2618>`_. Finite for every finite margin.

    Args:
        pos_score: Scores of items that users interacted with ``[batch]``.
        neg_score: Scores of items that they did not ``[batch]``.
        log_base: The base of the logarithm; MENTOR's released code uses 2.

    Returns:
        The mean over the batch, a scalar.

    Raises:
        ValueError: If the shapes differ or there are no scores.

    Examples:
        >>> import torch
        >>> bpr_loss(torch.zeros(8), torch.zeros(8), log_base=2).item()
        1.0
    """
    if pos_score.shape != neg_score.shape or pos_score.numel() == 0:
        raise ValueError(
            f"'pos_score' and 'neg_score' need one shape [batch], not empty "
            f"(got {list(pos_score.shape)} and {list(neg_score.shape)})"
        )
    return -F.logsigmoid(pos_score - neg_score).mean() / math.log(log_base)
