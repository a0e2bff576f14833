"""Metrics of all users' lists together: which items are recommended, and how often.

They are functions of two counts per item: ``recommended``, in how many lists the item is, and
``interactions``, how many interactions it has in train, both ``[num_items]``, int64. All items of
the data count, also those without interactions and those that nobody is recommended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

__all__ = [
    "LIST_METRICS",
    "ListCounts",
    "average_popularity",
    "coverage",
    "gini",
    "novelty",
]


def coverage(recommended: Tensor) -> Tensor:
    r"""Return the share of all items that are in somebody's list, a scalar from 0 to 1.

    .. math::
        \frac{|\{i : n_i > 0\}|}{|I|}

    with :math:`n_i` the number of lists that item :math:`i` is in. "Catalog coverage" in `Ge,
    Delgado-Battenfeld and Jannach, "Beyond Accuracy: Evaluating Recommender Systems by Coverage and
    Serendipity", RecSys 2010 <https://doi.org/10.1145/1864708.1864761>`_.

    Args:
        recommended: The number of lists that each item is in ``[num_items]``.
    """
    return (recommended > 0).double().mean()


def gini(recommended: Tensor) -> Tensor:
    r"""Return how unequally often items are recommended, a scalar from 0 to 1.

    .. math::
        G = \frac{1}{|I| - 1} \sum_{j=1}^{|I|} (2j - |I| - 1) \frac{n_{(j)}}{\sum_i n_i}

    with :math:`n_{(1)} \le n_{(2)} \le \dots` the numbers of lists that items are in. It is 0 if
    all items are recommended equally often and 1 if all recommendations are one item. This is the
    index of `Shani and Gunawardana, "Evaluating Recommendation Systems", Recommender Systems
    Handbook, 2011 <https://doi.org/10.1007/978-0-387-85820-3_8>`_; the area of the Lorenz curve, as
    in Fleder and Hosanagar, "Blockbuster Culture's Next Rise or Fall", Management Science 2009, is
    smaller by the factor :math:`(|I| - 1) / |I|`. It is 0 where there is but one item, or no list.

    Args:
        recommended: The number of lists that each item is in ``[num_items]``.
    """
    count = recommended.sort().values
    size = count.numel()
    rank = torch.arange(1, size + 1, device=count.device)
    unequal = ((2 * rank - size - 1) * count).sum()  # of integers, and so exact
    return unequal.double() / (max(size - 1, 1) * count.sum().clamp(min=1).double())


def novelty(recommended: Tensor, interactions: Tensor) -> Tensor:
    r"""Return the mean self-information of recommended items, in bits.

    .. math::
        \frac{1}{\sum_i n_i} \sum_i n_i \cdot -\log_2 \frac{\max(c_i, 1)}{\sum_j c_j}

    with :math:`n_i` the number of lists that item :math:`i` is in, and :math:`c_i` its number of
    train interactions: :math:`c_i / \sum_j c_j` is its share of the train interactions. The mean is
    over recommendations, all lists together. An item without train interactions, which has an
    infinite information, counts as if it had one: no less novel than any other. See "mean
    self-information" in `Castells, Hurley and Vargas, "Novelty and Diversity in Recommender
    Systems", Recommender Systems Handbook, 2015 <https://doi.org/10.1007/978-1-4899-7637-6_26>`_.
    With shares of users in place of interactions, as others have it, all values change by one
    constant, the logarithm of the interactions per user. It is 0 where nothing is recommended.

    Args:
        recommended: The number of lists that each item is in ``[num_items]``.
        interactions: The number of each item's train interactions ``[num_items]``.
    """
    total = interactions.sum().clamp(min=1).double()
    information = total.log2() - interactions.clamp(min=1).double().log2()
    return _mean(information, recommended)


def average_popularity(recommended: Tensor, interactions: Tensor) -> Tensor:
    r"""Return the mean number of train interactions of recommended items.

    .. math::
        \frac{\sum_i n_i c_i}{\sum_i n_i}

    with :math:`n_i` the number of lists that item :math:`i` is in, and :math:`c_i` its number of
    train interactions. It is also called average recommendation popularity, after `Yin, Cui, Li,
    Yao and Chen, "Challenging the Long Tail Recommendation", VLDB 2012
    <https://doi.org/10.14778/2311906.2311916>`_. A mean over users of the means of their lists is
    the same where all lists are of one length. It is 0 where nothing is recommended.

    Args:
        recommended: The number of lists that each item is in ``[num_items]``.
        interactions: The number of each item's train interactions ``[num_items]``.
    """
    return _mean(interactions.double(), recommended)


def _mean(value: Tensor, recommended: Tensor) -> Tensor:
    """Return the mean over recommendations of a value of items."""
    return (value * recommended).sum() / recommended.sum().clamp(min=1)


LIST_METRICS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "coverage": lambda recommended, interactions: coverage(recommended),
    "gini": lambda recommended, interactions: gini(recommended),
    "novelty": novelty,
    "average_popularity": average_popularity,
}
"""The metrics of all lists together, by the first half of their key, *e.g.* ``"coverage@20"``."""


class ListCounts:
    """Counts lists by item, block by block, so that no list needs to be kept.

    Args:
        k: The lengths of ranking.
        metrics: Names among :data:`LIST_METRICS`; if there is none, nothing is counted.
        interactions: The number of each item's train interactions ``[num_items]``.
    """

    def __init__(self, k: Sequence[int], metrics: Sequence[str], interactions: Tensor) -> None:
        self._metrics, self._interactions = metrics, interactions
        lengths = k if metrics else ()
        self._recommended = {length: torch.zeros_like(interactions) for length in lengths}

    def update(self, ranked: Tensor, score: Tensor) -> None:
        """Add lists: items and scores ``[num_lists, at least max(k)]``.

        What has a score of minus infinity is no recommendation.
        """
        for length, count in self._recommended.items():
            made = ranked[:, :length][score[:, :length] > -torch.inf]
            count += torch.bincount(made, minlength=count.numel())

    def compute(self) -> dict[str, float]:
        """Return the metrics."""
        return {
            f"{name}@{length}": float(LIST_METRICS[name](count, self._interactions))
            for name in self._metrics
            for length, count in self._recommended.items()
        }
