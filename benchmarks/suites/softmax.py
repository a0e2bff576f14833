"""Softmax of a batch over all items, forward and backward, by every backend."""

from __future__ import annotations

from functools import partial

import torch
from cases import Case, Setting, Work
from counts import dense_gbyte, softmax_gflop
from measure import refuse_beyond_memory
from references import close, softmax_value_and_rows
from torch import Tensor

from mentor_pyg.losses import SOFTMAX_BACKENDS, softmax_loss
from suites.infonce import NAIVE_BYTES, TOLERANCE, refuse_precision
from suites.propagate import INTERPRETED

__all__ = ["cases"]

_QUERIES = 2048
_ITEMS = 18_357
"""Those of Amazon Sports."""
_MANY = 1_000_000
_WIDTHS = (64, 128)
_TEMPERATURE = 0.3
_SOME = 64
_RESULTS = ("value", "gradient of the queries", "gradient of the table")


def cases(setting: Setting) -> list[Case]:
    """Return batches before a catalogue, by every backend, and before a million items."""
    found = []
    for width in _WIDTHS:
        for backend in SOFTMAX_BACKENDS:
            known = INTERPRETED if backend == "triton" and setting.device == "cpu" else None
            found.append(_case(_ITEMS, width, backend, known))
    return [*found, _case(_MANY, _WIDTHS[0], "auto"), _case(_MANY, _WIDTHS[0], "naive")]


def _case(items: int, width: int, backend: str, cannot_run: str | None = None) -> Case:
    name = f"{_QUERIES:,} of {items:,} items, d = {width}, forward + backward"
    return Case("softmax", name, backend, partial(_prepare, items, width, backend), cannot_run)


def _prepare(items: int, width: int, backend: str, setting: Setting) -> Work:
    query, table = (
        torch.randn(rows, width, device=setting.device, requires_grad=True)
        for rows in (_QUERIES, items)
    )
    target = torch.randint(items, (_QUERIES,), device=setting.device)
    refuse_precision(query, "ieee", backend)
    if backend == "naive":
        refuse_beyond_memory(NAIVE_BYTES * _QUERIES * items, setting.device)

    def run() -> tuple[Tensor, ...]:
        loss = softmax_loss(query, target, table, _TEMPERATURE, backend, similarity="cosine")
        return (loss.detach(), *torch.autograd.grad(loss, (query, table)))

    def check(result: tuple[Tensor, ...]) -> str:
        queries = torch.arange(_QUERIES, device=query.device)[:: _QUERIES // _SOME]
        rows = target[queries]
        expected = softmax_value_and_rows(query, target, table, _TEMPERATURE, queries, rows)
        got = (result[0], result[1][queries], result[2][rows])
        for name, x, y in zip(_RESULTS, got, expected, strict=True):
            close(name, x, y, TOLERANCE["ieee"])
        return f"the value and {_SOME} rows of both gradients by their formulas"

    gbyte = dense_gbyte(*2 * [_QUERIES * width, items * width])
    return Work(run, check, gflop=softmax_gflop(_QUERIES, items, width), gbyte=gbyte)
