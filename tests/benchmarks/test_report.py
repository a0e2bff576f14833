import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report import add_shares, fit_power, line, make_report, peaks_of, write


def ok(suite: str, case: str, backend: str, ms: float, **fields: Any) -> dict[str, Any]:
    row = {
        "suite": suite,
        "case": case,
        "backend": backend,
        "status": "ok",
        "median_ms": ms,
        "min_ms": 0.8 * ms,
        "max_ms": 2 * ms,
        "peak_mib": 12.3,
        "gflop": None,
        "gbyte": None,
        "precision": "ieee",
        "facts": {},
        **fields,
    }
    for key in ("gflop", "gbyte"):
        row[f"{key}_per_s"] = row[key] / ms * 1e3 if row[key] else None
    return row


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    machine = [
        ok("machine", "matrix product, ieee", "torch", 100, gflop=16.0),
        ok("machine", "copy", "torch", 20, gbyte=0.48),
    ]
    curve = [
        ok(
            "scaling", f"point {n}", "auto", 3e-7 * n**2, peak_mib=20 + 3e-3 * n,
            facts={"curve": "rows", "nodes": n, "size": 64 * n},
        )
        for n in (10_000, 20_000, 50_000)
    ]  # fmt: skip
    return [
        *machine,
        ok("propagate", "width 64", "native", 4, gflop=0.08, gbyte=0.06),
        ok("propagate", "width 64", "naive", 100, gflop=0.08, gbyte=0.06),
        {
            "suite": "propagate",
            "case": "width 64",
            "backend": "scatter",
            "status": "cannot run",
            "reason": "a | b",
        },
        *curve,
    ]


@pytest.mark.parametrize("exponent", [0.7, 1.0, 1.3, 2.0])
def test_fit_finds_the_exponent(exponent: float) -> None:
    size = np.geomspace(1e4, 1e6, 5)
    fit = fit_power(size.tolist(), (3e-4 * size**exponent).tolist())
    assert fit.exponent_without_baseline == pytest.approx(exponent)
    if exponent >= 1:
        assert fit.exponent == pytest.approx(exponent)
        assert fit.baseline == pytest.approx(0, abs=1e-9)


def test_fit_subtracts_what_does_not_grow() -> None:
    size = np.geomspace(1e4, 1e6, 5)
    fit = fit_power(size.tolist(), (20 + 1e-3 * size).tolist())
    assert (fit.exponent, fit.baseline) == (pytest.approx(1), pytest.approx(20))
    assert fit.exponent_without_baseline < 0.9


def test_a_baseline_hides_no_growth_beyond_a_line() -> None:
    size = np.geomspace(1e4, 1e6, 5)
    assert fit_power(size.tolist(), (20 + 1e-6 * size**2).tolist()).exponent > 1.5


@pytest.mark.parametrize(("size", "value"), [([1], [1]), ([2, 2], [1, 3]), ([1, 2], [0, 1])])
def test_fit_refuses(size: list[float], value: list[float]) -> None:
    with pytest.raises(ValueError, match="need two different points above 0"):
        fit_power(size, value)


def test_peaks_are_the_best_samples(rows: list[dict[str, Any]]) -> None:
    assert peaks_of(rows) == {"ieee": pytest.approx(200), "copy": pytest.approx(30)}


def test_report_compares_with_naive_and_with_the_machine(rows: list[dict[str, Any]]) -> None:
    report = make_report({"cpu": "x"}, {"dataset": "y"}, rows)
    assert report.keys() == {"machine", "dataset", "peaks", "fits", "rows"}
    native, naive, scatter = report["rows"][2:5]
    assert (native["naive_over_this"], naive["naive_over_this"]) == (25, 1)
    assert native["of_peak"] == pytest.approx(0.1)
    assert native["of_copy"] == pytest.approx(0.5)
    assert scatter == rows[4]
    assert report["fits"]["InfoNCE over nodes: memory"]["exponent"] == pytest.approx(1)
    assert report["fits"]["InfoNCE over nodes: memory"]["baseline"] == pytest.approx(20)
    assert report["fits"]["InfoNCE over nodes: time"]["exponent"] == pytest.approx(2)


def test_files_hold_rows_and_fits(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    report = make_report({"cpu": "a cpu", "commit": "abc"}, {"dataset": "synthetic"}, rows)
    write(report, tmp_path / "new" / "v1.2")
    assert json.loads((tmp_path / "new" / "v1.2.json").read_text()) == report
    text = (tmp_path / "new" / "v1.2.md").read_text().splitlines()
    assert text[:3] == ["- cpu: a cpu", "- commit: abc", "- dataset: synthetic"]
    table = [row for row in text if row.startswith("|")]
    assert {row.count("|") for row in table[: 2 + len(rows)]} == {12}
    expected = "| propagate | width 64 | native | 4.00 | 3.20 to 8.00 | 25.0 | 12.3 | 20.0 | 10% |"
    assert f"{expected} 15.0 | 50% |" in table
    assert "| InfoNCE over nodes: memory | 1.00 | 20.0 MiB |" in "\n".join(table)


def test_reasons_keep_the_table_whole(rows: list[dict[str, Any]]) -> None:
    row = add_shares(rows[4], {})
    assert line(row).startswith("| propagate | width 64 | scatter | cannot run: a / b |")
    assert line(row).count("|") == line(rows[2]).count("|")
