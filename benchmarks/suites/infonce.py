"""InfoNCE over all pairs, forward and backward, by every backend and precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import get_args

import torch
from cases import CannotRunError, Case, Setting, Work
from counts import dense_gbyte, info_nce_gflop
from measure import refuse_beyond_memory, seconds_of
from references import close, info_nce_value_and_rows
from torch import Tensor

from mentor_pyg.losses import SOFTMAX_BACKENDS, info_nce, softmax_unavailable
from mentor_pyg.typing import Precision
from suites.propagate import INTERPRETED

__all__ = ["NAIVE_BYTES", "PRECISIONS", "TOLERANCE", "cases", "prepare", "refuse_precision"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
TOLERANCE = {"ieee": 1e-4, "tf32x3": 1e-4, "tf32": 5e-3, "bf16": 4e-2}
"""Per precision how far values and gradients may be off, relative to the length of the exact."""

_PEAK = {"tf32x3": "tf32"}
"""Three products in tf32 make one: against the peak of tf32, a third is all there is."""

NAIVE_BYTES = 16
"""What naive InfoNCE holds per pair of rows: logits, their softmax, and both gradients."""

_TEMPERATURE = 0.2
_FEW = 512
_SOME = 256
_RESULTS = ("value", "gradient of view a", "gradient of view b")


def cases(setting: Setting) -> list[Case]:
    """Return the contrast of all items and of all users, as wide as two fused modalities."""
    counts = sorted({setting.num_items, setting.num_users})
    return [case for rows in counts for case in _cases_at(rows, setting)]


def _cases_at(rows: int, setting: Setting) -> list[Case]:
    name = f"N = {rows:,}, d = 128, forward + backward"
    found = []
    for backend in SOFTMAX_BACKENDS:
        if backend == "triton" and setting.device == "cpu":
            unused = partial(prepare, rows, 128, backend=backend)
            found.append(Case("infonce", name, backend, unused, INTERPRETED))
            continue
        one = backend in ("naive", "native")
        for precision in PRECISIONS[:1] if one else PRECISIONS:
            label = backend if one else f"{backend}, {precision}"
            work = partial(prepare, rows, 128, backend=backend, precision=precision)
            found.append(Case("infonce", name, label, work))
    return found


def prepare(
    rows: int, width: int, setting: Setting, *, backend: str, precision: Precision = "ieee"
) -> Work:
    """Return the work of contrasting two views ``[rows, width]``."""
    a, b = (torch.randn(rows, width, device=setting.device, requires_grad=True) for _ in range(2))

    def function(x: Tensor, y: Tensor, name: str = backend, how: Precision = precision) -> Tensor:
        return info_nce(x, y, _TEMPERATURE, backend=name, precision=how)

    refuse_precision(a, precision, backend)
    _refuse_unaffordable(function, a, b, setting, backend)

    def run() -> tuple[Tensor, ...]:
        loss = function(a, b)
        return (loss.detach(), *torch.autograd.grad(loss, (a, b)))

    def check(result: tuple[Tensor, ...]) -> str:
        _check_few(function, a[:_FEW], b[:_FEW], precision)
        some = torch.arange(rows, device=a.device)[:: max(1, rows // _SOME)]
        expected = info_nce_value_and_rows(a, b, _TEMPERATURE, some)
        got = (result[0], result[1][some], result[2][some])
        for name, x, y in zip(_RESULTS, got, expected, strict=True):
            close(f"{name} of all", x, y, TOLERANCE[precision])
        return (
            f"the first {min(rows, _FEW)} rows against naive in float64; "
            f"of all, the value and {len(some)} rows of both gradients by their formulas"
        )

    return Work(
        run,
        check,
        gflop=info_nce_gflop(rows, width),
        gbyte=dense_gbyte(*4 * [rows * width]),
        precision=_PEAK.get(precision, precision),
    )


def refuse_precision(view: Tensor, precision: Precision, backend: str = "auto") -> None:
    """Raise where the machine has no products of the precision."""
    if reason := softmax_unavailable(view, backend, precision):
        raise CannotRunError(reason)


def _check_few(
    function: Callable[..., Tensor], view_a: Tensor, view_b: Tensor, precision: str
) -> None:
    few = [x.detach().requires_grad_() for x in (view_a, view_b)]
    exact = [x.detach().double().requires_grad_() for x in (view_a, view_b)]
    got, expected = function(*few), function(*exact, name="naive", how="ieee")
    results = (
        (loss, *torch.autograd.grad(loss, views)) for loss, views in ((got, few), (expected, exact))
    )
    for name, a, b in zip(_RESULTS, *results, strict=True):
        close(name, a, b, TOLERANCE[precision])


def _refuse_unaffordable(
    function: Callable[..., Tensor], a: Tensor, b: Tensor, setting: Setting, backend: str
) -> None:
    """Raise where a call would be too large or, by a call on a few rows, too slow."""
    rows = a.size(0)
    few = a.detach()[:2048].requires_grad_(), b.detach()[:2048].requires_grad_()
    again = partial(seconds_of, lambda: torch.autograd.grad(function(*few), few), setting.device)
    seconds = min(again() for _ in range(3))
    predicted = seconds * (rows / few[0].size(0)) ** 2
    if rows > 2048 and predicted > setting.longest:
        raise CannotRunError(
            f"a call would take about {predicted:.0f} s, by one on 2048 rows; "
            f"raise --longest, {setting.longest:g} s"
        )
    if backend == "naive":
        refuse_beyond_memory(NAIVE_BYTES * rows**2, setting.device)
