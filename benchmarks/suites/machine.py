"""What the machine can do: the peaks that all other suites are held against."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from cases import Case, Setting, Work
from measure import seconds_of

__all__ = ["COPY", "PEAKS", "cases"]

COPY = "copy"
PEAKS = {"ieee": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
"""Per precision of products what the operands of its peak are stored in."""

_LARGEST = {"cpu": 2048, "cuda": 8192}
_COPIED = {"cpu": 2**28, "cuda": 2**30}  # bytes, beyond any cache
_GROW_UNTIL = 0.3  # seconds


def cases(setting: Setting) -> list[Case]:
    """Return a matrix product per precision, and a copy."""
    precisions = [p for p in PEAKS if p != "tf32" or setting.device == "cuda"]
    products = [
        Case("machine", f"matrix product, {precision}", "torch", partial(_product, precision))
        for precision in precisions
    ]
    return [*products, Case("machine", COPY, "torch", _copy)]


def _product(precision: str, setting: Setting) -> Work:
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    size, run = _largest_product(precision, setting.device)

    def check(_: object) -> str:
        a = torch.randn(64, 64, device=setting.device).to(PEAKS[precision])
        torch.testing.assert_close((a @ a).double(), a.double() @ a.double(), rtol=0.1, atol=0.3)
        return "a small product against float64"

    gflop = 2 * size**3 / 1e9
    return Work(run, check, gflop=gflop, precision=precision, facts={"size": size})


def _largest_product(precision: str, device: str) -> tuple[int, Callable[[], object]]:
    """Return the largest size that does not take too long; bf16 may, on a CPU without units."""
    size = 256
    while True:
        a, b = torch.randn(2, size, size, device=device).to(PEAKS[precision])
        out = torch.empty_like(a)
        run = partial(torch.mm, a, b, out=out)
        run()
        seconds = min(seconds_of(run, device) for _ in range(3))
        if size >= _LARGEST[device] or 8 * seconds > _GROW_UNTIL:
            return size, run
        size *= 2


def _copy(setting: Setting) -> Work:
    source = torch.randn(_COPIED[setting.device] // 4, device=setting.device)
    target = torch.zeros_like(source)

    def check(_: object) -> str:
        assert torch.equal(source, target), "the copy differs"
        return "the copy against its source"

    moved = 2 * source.numel() * 4 / 1e9  # read and written
    return Work(lambda: target.copy_(source), check, gbyte=moved)
