"""Users beside items by the principal structure of all interactions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import Inputs, edge_label_index
from mentor_pyg.dependencies import require
from mentor_pyg.graph import Adjacency
from mentor_pyg.models.fitted.sparse import interaction_matrix

__all__ = ["principal_adjacency"]

_BLOCK = 2**22
"""Entries of the product held at a time."""


def principal_adjacency(
    data: HeteroData, num_singular: int, num_principal: int, threshold: float
) -> Adjacency:
    r"""Return the joint graph of users and items that few singular vectors make.

    With the :math:`r` largest singular values :math:`\sigma_1 \ge \dots \ge \sigma_r` of the
    normalised interactions :math:`\mathbf{D}_U^{-1/2} \mathbf{R} \mathbf{D}_I^{-1/2}` and their
    vectors, users and items :math:`u, i` are joined both ways by

    .. math::
        s_{ui} = \sum_{j=1}^{p} \sigma_j \sigma_{r - p + j} a_{uj} b_{ij}

    where :math:`|s_{ui}| \ge \theta`. There are at most :math:`\theta^{-2} \sum_j (\sigma_j
    \sigma_{r - p + j})^2` such pairs, however many users and items there are. They are found a
    block of users at a time, with SciPy, which the extra ``train`` brings. Vectors of equal
    singular values, as of several components that have no edges between them, are any basis of
    their space.

    Args:
        data: The dataset, of whose train interactions it is made.
        num_singular: The number of singular values :math:`r`; all, where there are fewer.
        num_principal: The number of vectors :math:`p`; likewise.
        threshold: The least weight :math:`\theta`.
    """
    matrix = interaction_matrix(Inputs.from_data(data))
    users, items = matrix.shape
    degrees = matrix.sum(axis=1), matrix.sum(axis=0)
    scale = [np.maximum(degree, 1) ** -0.5 for degree in degrees]
    matrix = matrix.multiply(scale[0][:, None]).multiply(scale[1][None]).tocsr()
    left, value, right = _largest_singular(matrix, min(num_singular, users, items))
    count = min(num_principal, len(value))
    left = left[:, :count] * (value[:count] * value[len(value) - count :])
    right = right[:count]
    found = []
    step = max(1, _BLOCK // items)
    for start in range(0, users, step):
        product = left[start : start + step] @ right
        user, item = np.nonzero(abs(product) >= threshold)
        found.append((user + start, item + users, product[user, item]))
    user, item, weight = (np.concatenate(part) for part in zip(*found, strict=True))
    edges = np.stack([np.concatenate([user, item]), np.concatenate([item, user])])
    device = edge_label_index(data, "train").device
    return Adjacency.from_edge_index(
        torch.from_numpy(edges).to(device),
        torch.from_numpy(np.tile(weight, 2).astype(np.float32)).to(device),
        num_nodes=users + items,
        is_symmetric=True,
    )


def _largest_singular(matrix: Any, count: int) -> tuple[Any, Any, Any]:
    """Return the largest singular values, falling, between their left and right vectors."""
    if count == min(matrix.shape):  # Then it is no larger than what it is made into.
        left, value, right = np.linalg.svd(matrix.toarray(), full_matrices=False)
    else:
        linalg = require("scipy.sparse.linalg", extra="train", purpose="Singular vectors")
        start = np.random.default_rng(0).standard_normal(min(matrix.shape))
        left, value, right = linalg.svds(matrix, count, v0=start)
    order = np.argsort(-value, kind="stable")
    return left[:, order], value[order], right[order]
