"""What results are compared with: slow, plain, and independent of the code that is timed."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.graph import Adjacency

__all__ = [
    "anchor_gradient",
    "close",
    "dense_similarity",
    "info_nce_in_blocks",
    "product_rows",
    "relative_error",
]

_BLOCK = 1024


def close(name: str, got: Tensor, expected: Tensor, tolerance: float) -> None:
    """Raise an ``AssertionError`` where two tensors differ, relative to the reference's length."""
    assert got.shape == expected.shape, f"{name}: shape {got.shape}, not {expected.shape}"
    error = relative_error(got, expected)
    assert error <= tolerance, f"{name}: off by {error:.1e}, more than {tolerance:.0e}"


def relative_error(got: Tensor, expected: Tensor) -> float:
    """Return ``|got - expected| / |expected|``; infinite where a value is not finite."""
    difference = (got.detach().double() - expected.detach().double()).norm()
    scale = expected.detach().double().norm().clamp(min=1e-30)
    error = float(difference / scale)
    return error if math.isfinite(error) else math.inf


def product_rows(adjacency: Adjacency, x: Tensor, rows: Tensor) -> Tensor:
    """Return some rows of ``adjacency @ x`` in float64, row by row, ``[num_rows, d]``."""
    out = []
    for row in rows.tolist():
        edges = slice(int(adjacency.rowptr[row]), int(adjacency.rowptr[row + 1]))
        weight = adjacency.weight[edges].double()
        out.append(weight @ x[adjacency.col[edges]].double())
    return torch.stack(out)


def anchor_gradient(a: Tensor, b: Tensor, temperature: float, rows: Tensor) -> Tensor:
    """Return the gradient of InfoNCE for some anchors in float64, by autograd, ``[num_rows, d]``.

    An anchor's gradient depends on no other anchor, so no ``N x N`` matrix is needed.
    """
    anchor = a.detach()[rows].double().requires_grad_()
    logits = F.normalize(anchor) @ F.normalize(b.detach().double()).t() / temperature
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, rows, reduction="sum"), anchor)
    return gradient / a.size(0)


@torch.no_grad()
def info_nce_in_blocks(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Return the value of InfoNCE, block by block of anchors, without a gradient."""
    a, b = F.normalize(a), F.normalize(b)
    total = a.new_zeros((), dtype=torch.float64)
    for start in range(0, a.size(0), _BLOCK):
        logits = a[start : start + _BLOCK] @ b.t() / temperature
        target = torch.arange(start, start + len(logits), device=a.device)
        total += F.cross_entropy(logits, target, reduction="sum").double()
    return (total / a.size(0)).to(a.dtype)


def dense_similarity(x: Tensor, rows: Tensor) -> Tensor:
    """Return the cosine of some rows with all rows in float64 ``[num_rows, N]``, -inf to itself."""
    x = F.normalize(x.double())
    similarity = x[rows] @ x.t()
    similarity[torch.arange(len(rows), device=x.device), rows] = -torch.inf
    return similarity
