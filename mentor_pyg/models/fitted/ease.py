"""EASE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.config import Positive
from mentor_pyg.data import Inputs, Scorer, num_items
from mentor_pyg.graph import ItemLists
from mentor_pyg.memory import available_memory
from mentor_pyg.models.fitted.smoothing import SmoothedModel, SmoothingConfig
from mentor_pyg.models.fitted.sparse import interaction_matrix
from mentor_pyg.models.registry import register

__all__ = ["EASE", "EASEConfig"]

_BYTES = 8 + 4
"""Per pair of items: what is inverted in place, in double precision, and what is kept of it."""
_ROWS = 1024
"""Rows at a time."""


@dataclass(frozen=True, kw_only=True)
class EASEConfig(SmoothingConfig):
    """Settings of :class:`EASE`."""

    l2: Positive = 100.0
    r"""The weight :math:`\lambda` of the penalty."""


@register
class EASE(SmoothedModel):
    r"""A linear autoencoder of users' items that may not copy an item from itself.

    From `"Embarrassingly Shallow Autoencoders for Sparse Data"
    <https://arxiv.org/abs/1905.03375>`_, in closed form:

    .. math::
        \hat{\mathbf{Y}} = \mathbf{X} \mathbf{B}, \qquad
        \mathbf{B} = \mathbf{I} - \mathbf{P} \,
        \operatorname{diag}(\mathbf{P})^{-1}, \qquad
        \mathbf{P} = (\mathbf{X}^\top \mathbf{X} + \lambda \mathbf{I})^{-1}

    It has a weight for every pair of items: memory grows with the square of their number, to
    fit :math:`12` bytes a pair and afterwards :math:`4`, and time with its third power.
    """

    name = "ease"
    Config = EASEConfig
    config: EASEConfig
    weight: Tensor

    @classmethod
    def from_data(cls, data: HeteroData, config: Any = None) -> Self:
        """Build a model for the users and items of ``data``, with nothing learned yet.

        Raises:
            ValueError: If memory cannot hold its weights, or ``data`` lacks the modality to
                smooth over.
        """
        _check_memory(num_items(data))
        return super().from_data(data, config)

    def solve(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return the weights ``[num_items, num_items]``."""
        _check_memory(self.num_items)
        inverse = _inverse_gram(interaction_matrix(inputs), self.config.l2)
        scale = -1 / inverse.diagonal()
        weight = torch.empty(self.num_items, self.num_items)
        for rows in _blocks(self.num_items):  # All at once would be held in float64 first.
            weight[rows] = inverse[rows] * scale
        return {"weight": weight.fill_diagonal_(0)}

    def state_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Return the shape of the weights."""
        return {"weight": (self.num_items, self.num_items)}

    def fitted_scorer(self, inputs: Inputs) -> Scorer:
        """Return the product of the interactions and the weights."""
        return SummedRows(
            ItemLists.from_edge_index(inputs.interactions, self.num_users), self.weight
        )


class SummedRows:
    """Scores that are sums of the rows of users' items; a :class:`~mentor_pyg.data.Scorer`.

    Args:
        items: The items of every user.
        weight: The rows ``[num_items, num_items]``.
    """

    def __init__(self, items: ItemLists, weight: Tensor) -> None:
        self.num_users, self.num_items = items.count.numel(), weight.size(1)
        self._items, self._weight = items, weight

    def scores(self, user: Tensor) -> Tensor:
        """Return the scores ``[batch, num_items]`` of all items for some users ``[batch]``."""
        user = user.to(self._weight.device)
        _, item = self._items.of(user)
        count = self._items.count[user]
        return F.embedding_bag(item, self._weight, count.cumsum(0) - count, mode="sum")


def _check_memory(items: int) -> None:
    needed, available = _BYTES * items**2, available_memory()
    if needed > available:
        raise ValueError(
            f"ease needs {needed / 2**30:.1f} GiB for weights between {items} items, but "
            f"{available / 2**30:.1f} GiB are left here; take a larger machine, or item_knn or "
            f"rp3beta, which keep 'k' weights for every item"
        )


def _blocks(size: int) -> list[slice]:
    return [slice(start, start + _ROWS) for start in range(0, size, _ROWS)]


def _inverse_gram(x: Any, l2: float) -> Tensor:
    r"""Return :math:`(\mathbf{X}^\top \mathbf{X} + \lambda \mathbf{I})^{-1}` in float64."""
    gram = torch.empty(x.shape[1], x.shape[1], dtype=torch.float64)
    transposed, x = x.T.tocsr(), x.tocsr()
    for rows in _blocks(len(gram)):
        gram[rows] = torch.from_numpy((transposed[rows] @ x).toarray())
    gram.diagonal().add_(l2)
    gram = gram.t()  # The same matrix, in LAPACK's order of columns: it works in place.
    failed = torch.empty(0, dtype=torch.int32)
    torch.linalg.cholesky_ex(gram, out=(gram, failed))
    if failed:
        raise ValueError(f"'l2' needs to be larger for the weights to be computed (got {l2:g})")
    return torch.cholesky_inverse(gram, out=gram)
