from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")

from figures import draw
from report import make_report

MACHINE = {"cpu": "a cpu (avx2)", "threads": 2, "device": "cpu"}


def ok(suite: str, case: str, backend: str, ms: float, **fields: Any) -> dict[str, Any]:
    work = {"gflop": 0.1, "gbyte": 0.2, "peak_mib": 3.0, "facts": {}, **fields}
    rates = {"gflop_per_s": work["gflop"] / ms * 1e3, "gbyte_per_s": work["gbyte"] / ms * 1e3}
    times = {"median_ms": ms, "min_ms": ms, "max_ms": ms}
    names = {"suite": suite, "case": case, "backend": backend, "status": "ok"}
    return {**names, **times, **work, **rates, "precision": "ieee"}


def rows() -> list[dict[str, Any]]:
    machine = [
        ok("machine", "matrix product, ieee", "torch", 1),
        ok("machine", "copy", "torch", 10),
    ]
    points = [
        ok("propagate", "width 64", backend, ms) for backend, ms in (("native", 2), ("naive", 9))
    ]
    curves = [
        ok("scaling", "x", "auto", n, facts={"curve": curve, curve: n, "nodes": n, "size": n})
        for curve in ("nodes", "rows", "edges", "width", "modalities")
        for n in (1, 2, 4)
    ]
    return [*machine, *points, *curves]


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


def test_both_figures_are_drawn(tmp_path: Path) -> None:
    draw(make_report(MACHINE, {}, rows()), tmp_path / "out")
    assert is_png(tmp_path / "out-roofline.png")
    assert is_png(tmp_path / "out-scaling.png")


def test_a_report_of_some_suites_gives_the_figures_it_can(tmp_path: Path) -> None:
    draw(make_report(MACHINE, {}, rows()[:4]), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out-roofline.png"]
