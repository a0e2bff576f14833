"""Softmax over a table by a C++ kernel for CPUs: products and exponentials of a tile in cache.

It has to be compiled once, by :mod:`mentor_pyg.ops.compile_native`; until then,
``backend="auto"`` runs torch's own operations.
"""

from __future__ import annotations

import ctypes
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.ops.contrast.streamed import Targets, streamed_cross_entropy
from mentor_pyg.ops.native import NativeLibrary, pointer
from mentor_pyg.typing import Precision

__all__ = ["LIBRARY", "cross_entropy", "unavailable"]

LIBRARY = NativeLibrary(Path(__file__).with_suffix(".cpp"))

_LANES, _GROUP, _PANEL, _TILE = 16, 24, 48, 5
"""What the kernel takes at a time: floats, queries, rows of the table, and panels of those."""
_SCORES = 5 * 2**20
"""Scores held at a time: near the cache."""
_MIN_QUERIES = 96
"""Queries at a time at least: work for several threads, in O(N d) memory."""


def unavailable(rows: Tensor, precision: Precision) -> str | None:
    """Return why the kernel cannot run on rows ``[N, d]``, or ``None``."""
    if torch.compiler.is_compiling():
        return "torch.compile does not see into the native kernel"
    if rows.device.type != "cpu":
        return f"the native kernel runs on the CPU only (got {rows.device.type})"
    if rows.dtype != torch.float32 or precision != "ieee":
        return f"the native kernel is of float32 and 'ieee' (got {rows.dtype}, {precision!r})"
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return "the native kernel is for CPUs with AVX-512"
    return LIBRARY.unavailable


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
    return streamed_cross_entropy(
        _stream, query, table, target, row, left_out, temperature, unit_rows
    )


def _stream(
    query: Tensor,
    table: Tensor,
    targets: Targets,
    temperature: float,
    grad_query: Tensor | None,
    grad_table: Tensor | None,
    shifted: bool,
) -> Tensor:
    """Add the softmax's part to the gradients, as a :data:`~.streamed.Stream` does."""
    library = LIBRARY.loaded
    assert isinstance(library, ctypes.CDLL)  # `unavailable` has been asked.
    (num_queries, width), num_rows = query.shape, len(table)
    query = _padded(query / temperature, _GROUP)
    table = _padded(table, _PANEL)
    turned = table.view(-1, _PANEL, table.size(1)).transpose(1, 2).contiguous()
    height = min(len(query), max(_MIN_QUERIES, _SCORES // len(table) // _GROUP * _GROUP))
    scores = query.new_empty(height * len(table))
    shifts = query.new_empty(height * -(-len(turned) // _TILE))
    count = query.new_zeros(len(query))
    count[:num_queries] = 1 if targets.counts is None else targets.counts
    left_out = targets.left_out
    if left_out is not None:
        left_out = F.pad(left_out, (0, len(query) - num_queries), value=-1).contiguous()
    log_sum = query.new_empty(len(query), dtype=torch.float64)
    found_query = None if grad_query is None else torch.empty_like(query)
    found_table = None if grad_table is None else torch.zeros_like(table)
    library.softmax_float32(
        *map(ctypes.c_int64, (len(query), num_rows, query.size(1), height)),
        *map(pointer, (query, table, turned, count, left_out)),
        ctypes.c_float(-math.inf if shifted else 1 / temperature),
        *map(pointer, (scores, shifts, log_sum, found_query, found_table)),
        ctypes.c_int(torch.get_num_threads()),
    )
    if grad_query is not None and found_query is not None:
        grad_query.add_(found_query[:num_queries, :width])
    if grad_table is not None and found_table is not None:
        grad_table.add_(found_table[:num_rows, :width], alpha=temperature)
    at_query, at_row = targets.query.contiguous(), targets.row.contiguous()
    positive = query.new_empty(len(at_query))
    library.scores_float32(
        *map(ctypes.c_int64, (len(positive), query.size(1))),
        *map(pointer, (query, table, at_query, at_row, positive)),
    )
    return (count.double() * log_sum).sum() - positive.double().sum()


def _padded(x: Tensor, multiple: int) -> Tensor:
    """Return rows, contiguous, with zeros up to multiples of rows and of a vector's width."""
    return F.pad(x, (0, -x.size(1) % _LANES, 0, -len(x) % multiple)).contiguous()
