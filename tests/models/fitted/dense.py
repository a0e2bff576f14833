"""What fitted models compute, on dense matrices and one by one."""

import numpy as np
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, num_items, num_users
from mentor_pyg.models import FittedModel


def dense(data: HeteroData) -> np.ndarray:
    x = np.zeros((num_users(data), num_items(data)))
    x[tuple(data[INTERACTS].edge_index.numpy())] = 1
    return x


def scores(model: FittedModel, data: HeteroData) -> np.ndarray:
    """Return the scores of all users."""
    users = torch.arange(num_users(data))
    return model.scorer(model.prepare(data)).scores(users).numpy()


def top(matrix: np.ndarray, k: int) -> np.ndarray:
    """Keep every row's largest entries off the diagonal, one by one."""
    kept = np.zeros_like(matrix)
    for row, values in enumerate(matrix):
        others = [c for c in range(len(values)) if c != row]
        for column in sorted(others, key=lambda c: (-values[c], c))[:k]:
            kept[row, column] = values[column]
    return kept
