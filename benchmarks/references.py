"""What results are compared with: slow, plain, and independent of the code that is timed."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mentor_pyg.graph import Adjacency

__all__ = [
    "close",
    "dense_similarity",
    "info_nce_in_blocks",
    "info_nce_value_and_rows",
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


@torch.no_grad()
def info_nce_value_and_rows(
    a: Tensor, b: Tensor, temperature: float, rows: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return InfoNCE and some rows of its gradients to ``a`` and to ``b``, by their formulas.

    One pass over all pairs, block by block of anchors, logits in float32 and sums in float64.
    """
    (unit_a, length_a), (unit_b, length_b) = (_unit(x) for x in (a, b))
    loss = a.new_zeros((), dtype=torch.float64)
    of_b = a.new_zeros(len(rows), a.size(1), dtype=torch.float64)
    log_sums = []
    for start in range(0, len(a), _BLOCK):
        anchor = unit_a[start : start + _BLOCK]
        logits = anchor @ unit_b.t() / temperature
        log_sum = logits.logsumexp(dim=1, keepdim=True)
        own = torch.arange(start, start + len(anchor), device=a.device)
        loss += (log_sum - logits.gather(1, own[:, None])).sum(dtype=torch.float64)
        weight = (logits[:, rows] - log_sum).exp() - (own[:, None] == rows).to(a.dtype)
        of_b += (weight.t() @ anchor).double()
        log_sums.append(log_sum)
    logits = unit_a[rows] @ unit_b.t() / temperature
    weight = (logits - torch.cat(log_sums)[rows]).exp().double()
    of_a = weight @ unit_b.double() - unit_b[rows].double()
    gradients = []
    for unit, length, outer in ((unit_a, length_a, of_a), (unit_b, length_b, of_b)):
        x = unit[rows].double()
        along = (outer * x).sum(dim=1, keepdim=True)  # Lengths do not matter to a cosine.
        gradients.append((outer - along * x) / (length[rows] * temperature * len(a)))
    return loss / len(a), gradients[0], gradients[1]


def _unit(x: Tensor) -> tuple[Tensor, Tensor]:
    length = x.norm(dim=1, keepdim=True)
    return x / length, length


def info_nce_in_blocks(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Return InfoNCE, block by block of anchors; autograd computes every block again."""
    a, b = F.normalize(a), F.normalize(b)
    blocks = [
        checkpoint(_block, anchor, b, start, temperature, use_reentrant=False)
        for start, anchor in zip(range(0, len(a), _BLOCK), a.split(_BLOCK), strict=True)
    ]
    return torch.stack(blocks).sum() / a.size(0)


def _block(anchor: Tensor, b: Tensor, start: int, temperature: float) -> Tensor:
    target = torch.arange(start, start + len(anchor), device=b.device)
    return F.cross_entropy(anchor @ b.t() / temperature, target, reduction="sum")


def dense_similarity(x: Tensor, rows: Tensor) -> Tensor:
    """Return the cosine of some rows with all rows in float64 ``[num_rows, N]``, -inf to itself."""
    x = F.normalize(x.double())
    similarity = x[rows] @ x.t()
    similarity[torch.arange(len(rows), device=x.device), rows] = -torch.inf
    return similarity
