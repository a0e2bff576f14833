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
    "softmax_value_and_rows",
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


def info_nce_value_and_rows(
    a: Tensor, b: Tensor, temperature: float, rows: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return InfoNCE and some rows of its gradients to ``a`` and to ``b``, by their formulas."""
    own = torch.arange(len(a), device=a.device)
    return softmax_value_and_rows(a, own, b, temperature, rows, rows)


@torch.no_grad()
def softmax_value_and_rows(
    query: Tensor, target: Tensor, table: Tensor, temperature: float, queries: Tensor, rows: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a softmax of cosines, and its gradients to some queries and to some rows.

    One pass over all pairs, block by block of queries, logits in float32 and sums in float64.
    """
    (unit_query, query_length), (unit_table, table_length) = _unit(query), _unit(table)
    loss = query.new_zeros((), dtype=torch.float64)
    of_table = query.new_zeros(len(rows), query.size(1), dtype=torch.float64)
    log_sums = []
    block = max(1, _BLOCK * _BLOCK // len(table))
    for start in range(0, len(query), block):
        part, found = unit_query[start : start + block], target[start : start + block]
        logits = part @ unit_table.t() / temperature
        log_sum = logits.logsumexp(dim=1, keepdim=True)
        loss += (log_sum - logits.gather(1, found[:, None])).sum(dtype=torch.float64)
        weight = (logits[:, rows] - log_sum).exp() - (found[:, None] == rows).to(query.dtype)
        of_table += (weight.t() @ part).double()
        log_sums.append(log_sum)
    log_sum = torch.cat(log_sums)
    of_query = torch.empty(len(queries), query.size(1), dtype=torch.float64, device=query.device)
    for at, i in enumerate(queries.tolist()):
        weight = (unit_table @ unit_query[i] / temperature - log_sum[i]).exp().double()
        of_query[at] = weight @ unit_table.double() - unit_table[target[i]].double()
    gradients = []
    for unit, length, outer in (
        (unit_query[queries], query_length[queries], of_query),
        (unit_table[rows], table_length[rows], of_table),
    ):
        x = unit.double()
        along = (outer * x).sum(dim=1, keepdim=True)  # Lengths do not matter to a cosine.
        gradients.append((outer - along * x) / (length * temperature * len(query)))
    return loss / len(query), gradients[0], gradients[1]


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
