"""A row for a user whom the model has not seen, from the items they chose."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mentor_pyg.export.tables import EmbeddingTables

__all__ = ["FoldIn"]


class FoldIn:
    r"""Makes a user's row out of a list of items, by ridge-regularised least squares.

    With the items' rows :math:`\mathbf{E}` and the list as a vector :math:`\mathbf{r}` of zeros
    and ones over all items,

    .. math::
        \mathbf{q} = \arg\min_{\mathbf{q}} \|\mathbf{r} - \mathbf{E} \mathbf{q}\|^2 +
        \lambda \|\mathbf{q}\|^2 = {\big(\mathbf{E}^\top \mathbf{E} + \lambda \mathbf{I}\big)}^{-1}
        \textstyle\sum_{i \in \text{list}} \mathbf{e}_i, \qquad
        \lambda = \rho \, \tfrac{1}{d} \operatorname{tr} \mathbf{E}^\top \mathbf{E}

    scaled to the mean length of the users' rows, which changes no ranking. The matrix is made and
    factored once. ``docs/serving.md`` has how this compares with users' trained rows.
    :meth:`~mentor_pyg.models.Model.new_users` says which models have rows.

    Args:
        tables: The tables.
        ridge: :math:`\rho`, in units of the mean eigenvalue of
            :math:`\mathbf{E}^\top \mathbf{E}`. The greater it is, the nearer is the row to the mean
            of the items' rows.

    Raises:
        ValueError: If ``ridge`` is not above 0.
    """

    def __init__(self, tables: EmbeddingTables, ridge: float = 10.0) -> None:
        if not ridge > 0:
            raise ValueError(f"'ridge' needs to be above 0 (got {ridge})")
        item = tables.item.float()
        gram = item.t() @ item
        eye = torch.eye(item.size(1))
        penalty = (ridge * gram.trace() / item.size(1)).clamp(min=torch.finfo(gram.dtype).tiny)
        self._item = item
        self._factor = torch.linalg.cholesky(gram + penalty * eye)
        self._length = tables.user.float().norm(dim=1).mean()

    def __call__(self, items: Sequence[int] | Tensor) -> Tensor:
        """Return a user's row ``[width]``; its dot products with the items' rows rank.

        Args:
            items: Item ids, of which repeated ones count once.

        Raises:
            ValueError: If there are none, or one is out of range.
        """
        index = torch.as_tensor(items, dtype=torch.long).reshape(-1).unique()
        count = self._item.size(0)
        if not index.numel() or not 0 <= int(index[0]) <= int(index[-1]) < count:
            raise ValueError(f"'items' needs ids from 0 to {count - 1} (got {index.tolist()})")
        chosen = self._item[index].sum(dim=0)
        row = torch.cholesky_solve(chosen.unsqueeze(1), self._factor).squeeze(1)
        return torch.nn.functional.normalize(row, dim=0) * self._length
