"""Whether one model ranks better than another: paired over users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mentor_pyg.dependencies import require

__all__ = ["Paired", "holm", "paired_test"]

_RESAMPLES = 9999
_BLOCK = 2**22
"""Entries of resamples that are held at once."""
_BY_VALUE = 20
"""Users per different value from which on it is faster to draw how often each value is there, which
is the same in distribution, than to draw users."""


@dataclass(frozen=True, kw_only=True)
class Paired:
    """What separates a model from another, over the same users."""

    users: int
    difference: float
    """The mean difference."""
    low: float
    high: float
    """The 95% bootstrap interval of that mean."""
    p: float
    """Of Wilcoxon's signed-rank test, two-sided."""
    effect: float
    """The matched-pairs rank-biserial correlation: 1 where every difference is positive."""


def paired_test(a: Any, b: Any, seed: int = 0) -> Paired:
    """Compare two models by their metric for every user, such as the recall.

    The interval is the percentile bootstrap's over users. Wilcoxon's test leaves users out whom
    both serve alike; where all are, ``p`` is 1.

    Args:
        a: The values of the first ``[num_users]``.
        b: Those of the second for the same users.
        seed: The seed of the resamples.

    Raises:
        ValueError: If there are no users, or not the same number.
    """
    a, b = (np.asarray(x, dtype=np.float64) for x in (a, b))
    if a.ndim != 1 or a.shape != b.shape or a.size == 0:
        raise ValueError(
            f"'a' and 'b' need a value for each of the same users (got shapes {a.shape} and "
            f"{b.shape})"
        )
    stats = require("scipy.stats", extra="train", purpose="A paired test")
    difference = np.round(a - b, 12)  # Means over seeds differ in their last bits where equal.
    moved = difference[difference != 0]
    mean = float(difference.mean())
    if moved.size == 0:
        return Paired(users=a.size, difference=0.0, low=0.0, high=0.0, p=1.0, effect=0.0)
    means = _resampled_means(difference, np.random.default_rng(seed))
    low, high = map(float, np.percentile(means, [2.5, 97.5]))
    ranks = stats.rankdata(np.abs(moved))
    effect = float((np.sign(moved) * ranks).sum() / ranks.sum())
    p = float(stats.wilcoxon(moved).pvalue)
    return Paired(users=a.size, difference=mean, low=low, high=high, p=p, effect=effect)


def _resampled_means(x: Any, rng: np.random.Generator) -> Any:
    """Return the means of resamples, in batches that bound the memory."""
    values, count = np.unique(x, return_counts=True)
    at_once = max(1, _BLOCK // x.size)
    means = []
    for start in range(0, _RESAMPLES, at_once):
        size = min(at_once, _RESAMPLES - start)
        if _BY_VALUE * values.size < x.size:
            means.append(rng.multinomial(x.size, count / x.size, size) @ values / x.size)
        else:
            means.append(x[rng.integers(x.size, size=(size, x.size))].mean(axis=1))
    return np.concatenate(means)


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's method, in their order.

    From `"A Simple Sequentially Rejective Multiple Test Procedure"
    <https://www.jstor.org/stable/4615733>`_.
    """
    values = np.asarray(p, dtype=np.float64)
    order = values.argsort(kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected.tolist()
