"""Products of sparse matrices that keep the largest entries, and scores that are products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mentor_pyg.data import Inputs
from mentor_pyg.dependencies import require
from mentor_pyg.graph import Adjacency, ItemLists

__all__ = [
    "ProductScores",
    "interaction_matrix",
    "interaction_rows",
    "sparse_buffers",
    "sparse_rows",
    "sparse_shapes",
    "top_products",
]

_BLOCK = 2**22
"""Entries of a product held at a time; what is made of them takes some 200 MiB."""


def _scipy() -> Any:
    return require("scipy", extra="train", purpose="Fitting a model without gradients")


def interaction_matrix(inputs: Inputs) -> Any:
    """Return the train interactions as SciPy's matrix of ones ``[num_users, num_items]``.

    Raises:
        ImportError: If SciPy is not installed.
    """
    user, item = inputs.interactions.cpu().numpy()
    shape = (inputs.num_users, inputs.num_items)
    return _scipy().sparse.csr_array((np.ones(len(user)), (user, item)), shape=shape)


def interaction_rows(inputs: Inputs) -> Adjacency:
    """Return the train interactions as a matrix of ones ``[num_users, num_items]``."""
    sizes = (inputs.num_items, inputs.num_users)
    return Adjacency.from_edge_index(inputs.interactions.flip(0), num_nodes=sizes)


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
    return _scipy().sparse.vstack(blocks, format="csr")


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


def sparse_buffers(name: str, matrix: Any) -> dict[str, Tensor]:
    """Return the CSR parts of SciPy's matrix as tensors, named after it."""
    return {
        f"{name}_start": torch.from_numpy(matrix.indptr.astype(np.int64)),
        f"{name}_column": torch.from_numpy(matrix.indices.astype(np.int32)),
        f"{name}_value": torch.from_numpy(matrix.data.astype(np.float32)),
    }


def sparse_shapes(name: str, num_rows: int) -> dict[str, tuple[int | None, ...]]:
    """Return the shapes of :func:`sparse_buffers`, whose number of entries may be any."""
    return {f"{name}_start": (num_rows + 1,), f"{name}_column": (None,), f"{name}_value": (None,)}


def sparse_rows(name: str, buffers: dict[str, Tensor], num_columns: int) -> Adjacency:
    """Return the matrix of :func:`sparse_buffers`."""
    start, column, value = (buffers[f"{name}_{part}"] for part in ("start", "column", "value"))
    return Adjacency(start, column.long(), value, num_sources=num_columns)


class ProductScores:
    """Scores that are rows of a product; a :class:`~mentor_pyg.data.Scorer`.

    Only the rows that are asked for are formed.

    Args:
        left: A matrix ``[num_users, n]``.
        right: A matrix ``[n, num_items]``.
    """

    def __init__(self, left: Adjacency, right: Adjacency) -> None:
        self.num_users, self.num_items = left.num_targets, right.num_sources
        self._left, self._right = _Rows(left), _Rows(right)
        widest = int(right.rowptr.diff().max())
        self._at_once = max(1, _BLOCK // max(1, widest))

    def scores(self, user: Tensor) -> Tensor:
        """Return the scores ``[batch, num_items]`` of all items for some users ``[batch]``."""
        found = self._left.of(user.to(self._left.device))
        scores = found[2].new_zeros(user.numel() * self.num_items)
        for row, inner, weight in zip(*(x.split(self._at_once) for x in found), strict=True):
            entry, column, value = self._right.of(inner)
            scores.index_add_(0, row[entry] * self.num_items + column, weight[entry] * value)
        return scores.view(-1, self.num_items)


class _Rows:
    """Looks up rows of a sparse matrix."""

    def __init__(self, matrix: Adjacency) -> None:
        self.device = matrix.device
        self._column, self._value = matrix.col, matrix.weight
        entries = torch.arange(matrix.num_edges, device=self.device)
        self._entries = ItemLists(matrix.rowptr, entries)

    def of(self, row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return places in ``row``, and the columns and values that the rows have there."""
        place, entry = self._entries.of(row)
        return place, self._column[entry], self._value[entry]
