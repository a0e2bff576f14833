"""Products of sparse matrices that keep the largest entries, and models that score by products."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mentor_pyg.data import Inputs, Scorer
from mentor_pyg.dependencies import require
from mentor_pyg.models.fitted.base import FittedModel

__all__ = [
    "ProductScores",
    "SparseModel",
    "interaction_matrix",
    "scipy_package",
    "top_products",
]

_BLOCK = 2**22
"""Entries of a product held at a time; what is made of them takes some 200 MiB."""


def scipy_package() -> Any:
    """Return SciPy, or raise an error that names what brings it."""
    return require("scipy", extra="train", purpose="A product of sparse matrices")


def interaction_matrix(inputs: Inputs) -> Any:
    """Return the train interactions as SciPy's matrix of ones ``[num_users, num_items]``."""
    user, item = inputs.interactions.cpu().numpy()
    shape = (inputs.num_users, inputs.num_items)
    return scipy_package().sparse.csr_array((np.ones(len(user)), (user, item)), shape=shape)


def top_products(
    left: Any, right: Any, k: int, reweigh: Callable[[Any, Any, Any], Any] | None = None
) -> Any:
    """Return ``left @ right`` without its diagonal, and of every row the ``k`` largest entries.

    A block of rows is formed at a time. Of equal entries, those of the lowest columns are kept.

    Args:
        left: SciPy's CSR matrix ``[n, m]``.
        right: Another one ``[m, n]``.
        k: The number of entries that a row keeps.
        reweigh: Makes what is kept and compared of the product's entries, their rows and their
            columns.
    """
    blocks = []
    for rows in _blocks(left, right):
        product = left[rows] @ right
        product.sort_indices()
        row = np.arange(rows.start, rows.stop).repeat(np.diff(product.indptr))
        if reweigh is not None:
            product.data = reweigh(product.data, row, product.indices)
        product.data[row == product.indices] = 0
        blocks.append(_largest(product, row - rows.start, k))
    return scipy_package().sparse.vstack(blocks, format="csr")


def _blocks(left: Any, right: Any) -> Iterator[slice]:
    """Yield slices of rows whose products with ``right`` have a bounded number of entries."""
    entries = left.astype(bool).astype(np.int64) @ np.diff(right.indptr).astype(np.int64)
    block = np.minimum(entries, right.shape[1]).cumsum() // _BLOCK
    starts = [0, *(np.flatnonzero(np.diff(block)) + 1), left.shape[0]]
    return map(slice, starts, starts[1:])


def _largest(matrix: Any, row: Any, k: int) -> Any:
    """Return the largest ``k`` entries above 0 of every row; ``row`` is that of each entry."""
    order = np.lexsort((-matrix.data, row))  # Stable: the lower column of equal entries first.
    rank = np.arange(row.size) - matrix.indptr[row]
    kept = np.sort(order[(rank < k) & (matrix.data[order] > 0)])
    start = np.concatenate([[0], np.bincount(row[kept], minlength=matrix.shape[0]).cumsum()])
    parts = (matrix.data[kept], matrix.indices[kept], start)
    return type(matrix)(parts, shape=matrix.shape)


class ProductScores:
    """Scores that are rows of a product; a :class:`~mentor_pyg.data.Scorer`.

    Only the rows that are asked for are formed, on the CPU.

    Args:
        left: SciPy's CSR matrix ``[num_users, n]``.
        right: Another one ``[n, num_items]``.
        device: Where the scores go.
    """

    def __init__(self, left: Any, right: Any, device: torch.device) -> None:
        self.num_users, self.num_items = left.shape[0], right.shape[1]
        self._left, self._right = left.astype(np.float32), right.astype(np.float32)
        self._device = device

    def scores(self, user: Tensor) -> Tensor:
        """Return the scores ``[batch, num_items]`` of all items for some users ``[batch]``."""
        product = self._left[user.cpu().numpy()] @ self._right
        return torch.from_numpy(product.toarray()).to(self._device)


class SparseModel(FittedModel):
    """Base of fitted models of one sparse matrix, between items or between users.

    It is kept as the three parts of a CSR matrix. A subclass says in :meth:`matrix` what it is.
    """

    matrix_name: ClassVar[str] = "nearest"
    """What the names of its parts begin with."""
    between_users: ClassVar[bool] = False
    """Whether it is a matrix of users, which scores from the left."""

    @abstractmethod
    def matrix(self, inputs: Inputs) -> Any:
        """Return what the train interactions make of the matrix, SciPy's CSR one ``[n, n]``."""

    def solve(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return the parts of the matrix."""
        matrix = self.matrix(inputs)
        return {
            f"{self.matrix_name}_start": torch.from_numpy(matrix.indptr.astype(np.int64)),
            f"{self.matrix_name}_column": torch.from_numpy(matrix.indices.astype(np.int32)),
            f"{self.matrix_name}_value": torch.from_numpy(matrix.data.astype(np.float32)),
        }

    def state_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Return the shapes of the matrix's parts, whose number of entries may be any."""
        name, start = self.matrix_name, (self._size + 1,)
        return {f"{name}_start": start, f"{name}_column": (None,), f"{name}_value": (None,)}

    def fitted_scorer(self, inputs: Inputs) -> Scorer:
        """Return the product of the interactions and the matrix, or of the matrix and those.

        Raises:
            ValueError: If its parts are of no matrix: SciPy would read and write where they say.
        """
        value, column, start = (
            self.get_buffer(f"{self.matrix_name}_{part}").cpu().numpy()
            for part in ("value", "column", "start")
        )
        shape = (len(start) - 1, self._size)
        matrix = scipy_package().sparse.csr_array((value, column, start), shape=shape)
        matrix.check_format(full_check=True)
        x = interaction_matrix(inputs)
        factors = (matrix, x) if self.between_users else (x, matrix)
        return ProductScores(*factors, inputs.device)

    @property
    def _size(self) -> int:
        return self.num_users if self.between_users else self.num_items
