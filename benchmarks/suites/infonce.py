"""InfoNCE over all pairs, forward and backward, by every backend and precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import get_args

import torch
from cases import CannotRunError, Case, Setting, Work
from counts import dense_gbyte, info_nce_gflop
from measure import refuse_beyond_memory, seconds_of
from references import anchor_gradient, close
from torch import Tensor

from mentor_pyg.losses import INFO_NCE_BACKENDS, info_nce
from mentor_pyg.typing import Precision
from suites.propagate import INTERPRETED

__all__ = ["NAIVE_BYTES", "PRECISIONS", "TOLERANCE", "cases", "prepare"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
TOLERANCE = {"ieee": 1e-4, "tf32x3": 1e-4, "tf32": 5e-3, "bf16": 4e-2}
"""Per precision how far values and gradients may be off, relative to the length of the exact."""

_PEAK = {"tf32x3": "tf32"}
"""Three products in tf32 make one: against the peak of tf32, a third is all there is."""

NAIVE_BYTES = 16
"""What naive InfoNCE holds per pair of rows: logits, their softmax, and both gradients."""

_TEMPERATURE = 0.2
_FEW = 512


def cases(setting: Setting) -> list[Case]:
    """Return the contrast of all items and of all users, as wide as two fused modalities."""
    counts = sorted({setting.num_items, setting.num_users})
    return [case for rows in counts for case in _cases_at(rows, setting)]


def _cases_at(rows: int, setting: Setting) -> list[Case]:
    name = f"N = {rows:,}, d = 128, forward + backward"
    found = []
    for backend in INFO_NCE_BACKENDS:
        if backend == "triton" and setting.device == "cpu":
            unused = partial(prepare, rows, 128, backend=backend)
            found.append(Case("infonce", name, backend, unused, INTERPRETED))
            continue
        precisions: tuple[Precision, ...] = ("ieee",) if backend == "naive" else PRECISIONS
        for precision in precisions:
            label = backend if backend == "naive" else f"{backend}, {precision}"
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

    _refuse_unaffordable(function, a, b, setting, backend)

    def check(result: tuple[Tensor, Tensor]) -> str:
        _check_few(function, a[:_FEW], b[:_FEW], precision)
        anchors = torch.arange(rows, device=a.device)[:: max(1, rows // 256)]
        expected = anchor_gradient(a, b, _TEMPERATURE, anchors)
        close("gradient of some anchors", result[0][anchors], expected, TOLERANCE[precision])
        return f"the first {_FEW} rows against naive in float64; gradients of 256 anchors of all"

    return Work(
        lambda: torch.autograd.grad(function(a, b), (a, b)),
        check,
        gflop=info_nce_gflop(rows, width),
        gbyte=dense_gbyte(*4 * [rows * width]),
        precision=_PEAK.get(precision, precision),
    )


def _check_few(
    function: Callable[..., Tensor], view_a: Tensor, view_b: Tensor, precision: str
) -> None:
    few = [x.detach().requires_grad_() for x in (view_a, view_b)]
    exact = [x.detach().double().requires_grad_() for x in (view_a, view_b)]
    got, expected = function(*few), function(*exact, name="naive", how="ieee")
    close("value", got, expected, TOLERANCE[precision])
    gradients = torch.autograd.grad(got, few)
    for name, a, b in zip("ab", gradients, torch.autograd.grad(expected, exact), strict=True):
        close(f"gradient of view {name}", a, b, TOLERANCE[precision])


def _refuse_unaffordable(
    function: Callable[..., Tensor], a: Tensor, b: Tensor, setting: Setting, backend: str
) -> None:
    """Raise where a call fails on a few rows, or would be too large or too slow on all."""
    rows = a.size(0)
    few = a.detach()[:2048].requires_grad_(), b.detach()[:2048].requires_grad_()
    try:
        torch.autograd.grad(function(*few), few)
    except RuntimeError as error:
        raise CannotRunError(str(error)) from None
    again = partial(seconds_of, lambda: torch.autograd.grad(function(*few), few), setting.device)
    seconds = min(again(), again())
    predicted = seconds * (rows / few[0].size(0)) ** 2
    if rows > 2048 and predicted > setting.longest:
        raise CannotRunError(
            f"a call would take about {predicted:.0f} s, by one on 2048 rows; "
            f"raise --longest, {setting.longest:g} s"
        )
    if backend == "naive":
        refuse_beyond_memory(NAIVE_BYTES * rows**2, setting.device)
