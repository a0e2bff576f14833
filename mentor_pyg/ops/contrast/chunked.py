"""Softmax over a table in torch's own operations, queries a few at a time."""

from __future__ import annotations

import itertools
from functools import partial

import torch
from torch import Tensor

from mentor_pyg.devices import float32_products
from mentor_pyg.ops.contrast.streamed import Targets, streamed_cross_entropy
from mentor_pyg.typing import Precision

__all__ = ["cross_entropy", "unavailable"]

_CHUNK_ELEMENTS = {"cpu": 5 * 2**20, "cuda": 2**26}
"""Scores held at a time: near the cache on the CPU, enough to fill a GPU there."""

_CHUNK_MULTIPLE = 64
"""Products of other numbers of queries are slower; so many at least still are O(N d) memory."""


def unavailable(rows: Tensor, precision: Precision) -> str | None:
    """Return why torch has no such products of rows ``[N, d]``, or ``None``."""
    if precision == "ieee":
        return None
    if rows.dtype == torch.float64:
        return f"{precision} products are of float32 matrices, and the rows are float64"
    if precision == "tf32x3":
        return "torch has no tf32x3 products"
    if rows.device.type == "cpu":
        return _cpu_lacks(precision)
    if not rows.is_cuda:
        return f"it has {precision} products on CUDA and CPU (the rows are on {rows.device})"
    capability = torch.cuda.get_device_capability(rows.device)
    if capability < (8, 0):
        got = f"{capability[0]}.{capability[1]} here"
        return f"{precision} products need compute capability 8.0 or newer ({got})"
    return None


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _cpu_lacks(precision: Precision) -> str | None:
    if precision == "tf32":
        return "CPUs have no tf32 products"
    # With AVX512-BF16 alone oneDNN says nothing and multiplies in float32.
    if torch.backends.mkldnn.is_available() and torch.cpu._is_amx_tile_supported():
        return None
    return "bf16 products of float32 matrices need AMX, which this CPU lacks"


def cross_entropy(
    query: Tensor,
    table: Tensor,
    target: Tensor,
    row: Tensor | None,
    left_out: Tensor | None,
    temperature: float,
    precision: Precision,
    unit_rows: bool,
) -> Tensor:
    """Return the loss, see :class:`~mentor_pyg.ops.contrast.ContrastBackend`."""
    # On CUDA, products of bfloat16 can be had in float32; elsewhere torch rounds if told to.
    factor = torch.bfloat16 if query.is_cuda and precision == "bf16" else query.dtype
    rounds = precision != "ieee"
    stream = partial(_stream, factor=factor, rounds=rounds)
    with float32_products(query.device.type, "ieee" if factor == torch.bfloat16 else precision):
        return streamed_cross_entropy(
            stream,
            query,
            table,
            target,
            row,
            left_out,
            temperature,
            unit_rows,
            adds_targets=rounds,
        )


def _product(x: Tensor, y: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``x @ y`` of factors, summed and given in float32 at least."""
    if x.dtype == torch.bfloat16:
        return torch.mm(x, y, out_dtype=torch.float32)
    return torch.mm(x, y, out=out)


def _chunks(num_queries: int, num_rows: int, device: str) -> list[slice]:
    """Cut queries up so that a chunk's scores of all rows are about as many as are to be held."""
    elements = _CHUNK_ELEMENTS.get(device, _CHUNK_ELEMENTS["cpu"])
    size = max(_CHUNK_MULTIPLE, elements // num_rows // _CHUNK_MULTIPLE * _CHUNK_MULTIPLE)
    starts = list(range(0, num_queries, size))
    if len(starts) > 1 and num_queries - starts[-1] < _CHUNK_MULTIPLE:
        # A few queries alone are multiplied in an order that depends on the number of threads.
        starts.pop()
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], num_queries], strict=True)]


def _stream(
    query: Tensor,
    table: Tensor,
    targets: Targets,
    temperature: float,
    grad_query: Tensor | None,
    grad_table: Tensor | None,
    shifted: bool,
    factor: torch.dtype,
    rounds: bool,
) -> Tensor:
    """Add the softmax's part to the gradients, as a :data:`~.streamed.Stream` does.

    ``factor`` is the dtype of what is multiplied, and ``rounds`` whether products round it; then
    the targets' part is added with it.
    """
    total = query.new_zeros((), dtype=torch.float64)
    chunks = _chunks(len(query), len(table), query.device.type)
    table_factor = table.to(factor)
    is_bf16 = factor == torch.bfloat16
    longest = max(chunk.stop - chunk.start for chunk in chunks)
    buffer = query.new_empty(0 if is_bf16 else len(table) * longest)
    for chunk, pairs in zip(chunks, itertools.pairwise(targets.bounds(chunks)), strict=True):
        scaled = (query[chunk] / temperature).to(factor)
        # [N, chunk]: on the CPU this product is 1.5 times as fast as its transpose.
        out = None if is_bf16 else buffer[: len(table) * len(scaled)].view(len(table), -1)
        p = _product(table_factor, scaled.t(), out)
        if targets.left_out is not None:
            p.scatter_(0, targets.left_out[chunk].unsqueeze(0), -torch.inf)
        row, at = targets.row[slice(*pairs)], targets.query[slice(*pairs)] - chunk.start
        positive = p[row, at].double()
        if shifted:
            shift = p.amax(dim=0)
            p.sub_(shift)
            positive = positive - shift[at]
        z = p.exp_().sum(dim=0)  # [chunk]
        count = 1 if targets.counts is None else targets.counts[chunk]
        total += (count * z.double().log()).sum() - positive.sum()
        if grad_query is None and grad_table is None:
            continue
        if rounds:
            # Where a positive takes nearly all of the softmax, what is left of the two together
            # is less than the rounding of either: here it is rounded itself.
            p.index_put_((row, at), -(z / count)[at], accumulate=True)
        p, weight = p.to(factor), (count / z).unsqueeze(1)
        if grad_query is not None:
            grad_query[chunk].add_(_product(p.t(), table_factor).mul_(weight))
        if grad_table is not None:
            weighted = (query[chunk] * weight).to(factor)
            if is_bf16:
                grad_table.add_(_product(p, weighted))
            else:
                grad_table.addmm_(p, weighted)
    return total
