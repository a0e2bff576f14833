"""The random parts of the synthetic dataset; every draw comes from a generator passed in."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["apportion", "draw_features", "draw_latent_factors", "sample_interactions"]

_LATENT_CHANNELS = 16
_AFFINITY = 5.0  # beta: odds of exp(5) = 148 between the most and the least related items
_POPULARITY_EXPONENT = 0.8
_BLOCK_ELEMENTS = 2**22  # user-item scores held at a time


def apportion(total: int, share: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Hand out ``total`` pieces within bounds, what exceeds the lower bounds by share.

    Args:
        total: The number of pieces, from ``low.sum()`` to ``high.sum()``.
        share: Positive shares ``[n]`` in float64.
        low: The fewest pieces each gets, int64 ``[n]``.
        high: The most pieces each gets, int64 ``[n]``.

    Returns:
        The number of pieces of each, int64 ``[n]``, with sum ``total``.

    Raises:
        ValueError: If ``total`` is out of bounds.
    """
    least, most = int(low.sum()), int(high.sum())
    if not least <= total <= most:
        raise ValueError(f"'total' needs to be from {least} to {most} (got {total})")
    count = low.clone()
    while (rest := total - int(count.sum())) > 0:
        room = high - count
        ideal = torch.where(room > 0, share, 0.0)
        ideal = ideal * (rest / ideal.sum())
        # Rounding the running sum rather than each part favours neither small nor large shares.
        step = ideal.cumsum(0).round().long().diff(prepend=count.new_zeros(1))
        count += step.minimum(room)
    return count


def draw_latent_factors(
    num_users: int, num_items: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw unit-length factors of users ``[num_users, 16]`` and items ``[num_items, 16]``.

    An item belongs to one cluster, a user to two, with random emphasis.
    """
    num_clusters = max(4, round(num_items**0.5 / 2))
    centre = _unit_rows(num_clusters, generator)
    cluster = torch.randint(num_clusters, (num_items,), generator=generator)
    item = centre[cluster] + 0.6 * _unit_rows(num_items, generator)
    interest = torch.randint(num_clusters, (num_users, 2), generator=generator)
    emphasis = torch.rand(num_users, 1, generator=generator)
    user = emphasis * centre[interest[:, 0]] + (1 - emphasis) * centre[interest[:, 1]]
    user = user + 0.3 * _unit_rows(num_users, generator)
    return F.normalize(user), F.normalize(item)


def sample_interactions(
    user_factor: Tensor, item_factor: Tensor, degree: Tensor, generator: torch.Generator
) -> Tensor:
    """Draw every user's items without replacement, by popularity and affinity.

    Perturbing the log-odds with Gumbel noise and taking the largest draws without replacement
    (`Kool et al., 2019 <https://arxiv.org/abs/1903.06059>`_). Users are taken in blocks of
    similar degree, so that memory stays bounded and little is sorted in vain.

    Args:
        user_factor: User factors ``[num_users, channels]``.
        item_factor: Item factors ``[num_items, channels]``.
        degree: The number of items of every user ``[num_users]``.
        generator: A CPU generator.

    Returns:
        Interactions ``[2, degree.sum()]`` of (user, item), sorted by user and item.
    """
    num_items = item_factor.size(0)
    rank = torch.randperm(num_items, generator=generator)
    log_popularity = -_POPULARITY_EXPONENT * torch.log(rank + 1 + 0.01 * num_items)
    pairs = []
    for user in degree.argsort(descending=True, stable=True).split(
        max(1, _BLOCK_ELEMENTS // num_items)
    ):
        score = _AFFINITY * user_factor[user] @ item_factor.t() + log_popularity
        score -= torch.empty_like(score).exponential_(generator=generator).log_()  # Gumbel noise
        most = int(degree[user[0]])
        item = score.topk(most, dim=1).indices  # [block, most]
        chosen = torch.arange(most) < degree[user, None]
        pairs.append((user[:, None] * num_items + item)[chosen])
    pair = torch.cat(pairs).sort().values
    return torch.stack([pair // num_items, pair % num_items])


def draw_features(
    item_factor: Tensor,
    channels: int,
    *,
    noise: float,
    missing: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Draw item features as random projections of noisy factors.

    Args:
        item_factor: Unit-length item factors ``[num_items, 16]``.
        channels: The width of the features.
        noise: The length of the noise added to the factors.
        missing: The share of items without features.
        generator: A CPU generator.

    Returns:
        The features ``[num_items, channels]``, zero where missing, and which items have them,
        bool ``[num_items]``.
    """
    num_items, latent = item_factor.shape
    factor = item_factor + noise * _unit_rows(num_items, generator)
    x = factor @ torch.randn(latent, channels, generator=generator)
    x += 0.5 * torch.randn(num_items, channels, generator=generator)
    present = torch.ones(num_items, dtype=torch.bool)
    lacking = torch.randperm(num_items, generator=generator)[: int(missing * num_items)]
    present[lacking] = False
    x[lacking] = 0
    return x, present


def _unit_rows(rows: int, generator: torch.Generator) -> Tensor:
    return F.normalize(torch.randn(rows, _LATENT_CHANNELS, generator=generator))
