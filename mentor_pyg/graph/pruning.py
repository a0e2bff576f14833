"""Some of the interactions, drawn so that edges between popular nodes tend to go."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from mentor_pyg.graph.normalize import normalize_symmetric

__all__ = ["Pruning", "prune_interactions"]

Pruning: TypeAlias = Literal["degree", "uniform"]
"""``"degree"``: edges between nodes of few interactions are kept first. ``"uniform"``: any."""

_PRUNINGS: tuple[Pruning, ...] = get_args(Pruning)


def prune_interactions(
    edge_index: Tensor,
    num_users: int,
    num_items: int,
    prune_ratio: float,
    generator: torch.Generator,
    by: Pruning = "degree",
) -> Tensor:
    r"""Draw the interactions that are kept, one after another without replacement.

    The next one is :math:`(u, i)` with a probability in proportion to
    :math:`1 / \sqrt{d_u d_i}`, the degree-sensitive edge pruning of `"Layer-refined Graph
    Convolutional Networks for Recommendation" <https://arxiv.org/abs/2207.11088>`_, until
    ``num_interactions - round(prune_ratio * num_interactions)`` are kept, one at least.

    Args:
        edge_index: Interactions ``[2, num_interactions]`` of (user, item).
        num_users: The number of users.
        num_items: The number of items.
        prune_ratio: The share of interactions that go, in ``[0, 1)``.
        generator: Where random numbers come from, on the device of ``edge_index``.
        by: ``"degree"``, or ``"uniform"`` for equal probabilities.

    Returns:
        The kept interactions ``[2, num_kept]``, in the order in which they came.

    Raises:
        ValueError: If ``prune_ratio`` is out of range, or ``by`` unknown.
    """
    if not 0 <= prune_ratio < 1:
        raise ValueError(f"'prune_ratio' needs to be in [0, 1) (got {prune_ratio})")
    if by not in _PRUNINGS:
        raise ValueError(f"'by' needs to be one of {list(_PRUNINGS)} (got {by!r})")
    size = edge_index.size(1)
    num_pruned = min(round(prune_ratio * size), size - 1)
    if num_pruned <= 0:
        return edge_index
    # The first to arrive of exponential times, whose rates are the weights, are such a draw.
    # torch.multinomial draws the same way, but of 2^24 edges at most.
    time = torch.empty(size, device=edge_index.device).exponential_(generator=generator)
    if by == "degree":
        time = time / normalize_symmetric(edge_index, (num_users, num_items))
    kept = time.topk(size - num_pruned, largest=False, sorted=False).indices
    return edge_index[:, kept.sort().values]
