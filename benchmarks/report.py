"""Rows -> shares of the machine's peaks, fitted exponents, JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measure import Row
from suites.machine import COPY

__all__ = [
    "Fit",
    "add_shares",
    "digits",
    "fit_power",
    "is_on_curve",
    "line",
    "make_report",
    "peaks_of",
    "write",
]

_NUMBER_COLUMNS = (
    "median, ms",
    "spread, ms",
    "naive / this",
    "peak over inputs, MiB",
    "GFLOP/s",
    "of peak",
    "GB/s",
    "of copy",
)
_FITS = {
    "propagation over nodes: memory": (("nodes",), "peak_mib"),
    "propagation over nodes: time": (("nodes",), "median_ms"),
    "propagation over nodes, edges and width: memory": (("nodes", "edges", "width"), "peak_mib"),
    "InfoNCE over nodes: memory": (("rows",), "peak_mib"),
    "InfoNCE over nodes: time": (("rows",), "median_ms"),
}
"""What is fitted against N d + E, for InfoNCE against N d: the curves, and what of them."""


@dataclass(frozen=True)
class Fit:
    """A power law ``value = baseline + c * size ** exponent``.

    Args:
        exponent: The slope of the logarithms after the baseline is subtracted.
        baseline: What does not grow.
        exponent_without_baseline: The slope of the logarithms as they are.
        points: The number of points.
    """

    exponent: float
    baseline: float
    exponent_without_baseline: float
    points: int


def fit_power(
    size: Sequence[float], value: Sequence[float], *, subtract_baseline: bool = True
) -> Fit:
    """Fit a power law by least squares on logarithms.

    The baseline is the intercept of a straight line through the points, fitted for the smallest
    relative errors, where that is above 0. What grows faster than a line has none.

    Args:
        size: At least two different sizes above 0.
        value: The values there, above 0.
        subtract_baseline: Whether there may be a baseline; otherwise it is 0.
    """
    x, y = np.asarray(size, dtype=float), np.asarray(value, dtype=float)
    if len(np.unique(x)) < 2 or min(x.min(), y.min()) <= 0:
        raise ValueError(
            f"'size' and 'value' need two different points above 0 "
            f"(got {list(size)} and {list(value)})"
        )
    line = np.stack([np.ones_like(x), x], axis=1) / y[:, None]
    intercept = float(np.linalg.lstsq(line, np.ones_like(y), rcond=None)[0][0])
    baseline = min(max(intercept, 0.0), 0.95 * float(y.min())) if subtract_baseline else 0.0
    return Fit(_slope(x, y - baseline), baseline, _slope(x, y), len(x))


def _slope(x: Any, y: Any) -> float:
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def peaks_of(rows: Iterable[Row]) -> dict[str, float]:
    """Return the machine's GFLOP/s by precision, and the GB/s of ``"copy"``, at their best."""
    peaks = {}
    for row in rows:
        if row["suite"] == "machine" and row["status"] == "ok":
            is_copy = row["case"] == COPY
            amount = row["gbyte" if is_copy else "gflop"]
            peaks[COPY if is_copy else row["precision"]] = amount / (row["min_ms"] / 1e3)
    return peaks


def add_shares(row: Row, peaks: dict[str, float]) -> Row:
    """Return a row with its shares of the machine's peaks."""
    if row["status"] != "ok":
        return row
    of_peak = _ratio(row["gflop_per_s"], peaks.get(row["precision"]))
    return {**row, "of_peak": of_peak, "of_copy": _ratio(row["gbyte_per_s"], peaks.get(COPY))}


def make_report(
    machine: dict[str, Any], dataset: dict[str, Any], rows: list[Row]
) -> dict[str, Any]:
    """Return everything that was found, as JSON values."""
    peaks = peaks_of(rows)
    naive = {
        (row["suite"], row["case"]): row["median_ms"]
        for row in rows
        if row["status"] == "ok" and row["backend"].startswith("naive")
    }
    finished = []
    for row in rows:
        row = add_shares(row, peaks)
        if row["status"] == "ok":
            reference = naive.get((row["suite"], row["case"]))
            row["naive_over_this"] = _ratio(reference, row["median_ms"])
        finished.append(row)
    return {
        "machine": machine,
        "dataset": dataset,
        "peaks": peaks,
        "fits": _fits(finished),
        "rows": finished,
    }


def _fits(rows: list[Row]) -> dict[str, dict[str, Any]]:
    fits = {}
    for name, (curves, key) in _FITS.items():
        on_curve = [r for curve in curves for r in rows if is_on_curve(r, curve)]
        fast = [r for r in on_curve if r["backend"] == "auto" and r[key]]
        if len({r["facts"]["size"] for r in fast}) >= 3:
            size, value = [r["facts"]["size"] for r in fast], [r[key] for r in fast]
            fit = fit_power(size, value, subtract_baseline=key == "peak_mib")
            fits[name] = {"key": key, **asdict(fit)}
    return fits


def is_on_curve(row: Row, curve: str) -> bool:
    """Return whether a row is a point of a scaling curve."""
    return row["status"] == "ok" and row["facts"].get("curve") == curve


def write(report: dict[str, Any], out: Path) -> None:
    """Write ``<out>.json`` and ``<out>.md``."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_name(f"{out.name}.json").write_text(json.dumps(report, indent=1) + "\n")
    out.with_name(f"{out.name}.md").write_text(_markdown(report))


def _markdown(report: dict[str, Any]) -> str:
    head = [
        f"- {key}: {value}" for key, value in {**report["machine"], **report["dataset"]}.items()
    ]
    columns = ("suite", "case", "backend", *_NUMBER_COLUMNS)
    table = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    table += [line(row) for row in report["rows"]]
    fits = []
    if report["fits"]:
        titles = ("growth with N d + E", "exponent", "above a baseline of", "exponent without")
        fits += ["", f"| {' | '.join(titles)} |", "|---|---|---|---|"]
    for name, fit in report["fits"].items():
        unit = "MiB" if fit["key"] == "peak_mib" else "ms"
        fits.append(
            f"| {name} | {fit['exponent']:.2f} | {digits(fit['baseline'])} {unit} | "
            f"{fit['exponent_without_baseline']:.2f} |"
        )
    return "\n".join([*head, "", *table, *fits]) + "\n"


def line(row: Row) -> str:
    """Return a row of the Markdown table."""
    head = [row["suite"], row["case"], row["backend"]]
    if row["status"] != "ok":
        reason = f"{row['status']}: {row['reason']}".replace("|", "/")
        cells = [reason, *[""] * (len(_NUMBER_COLUMNS) - 1)]
    else:
        cells = [
            digits(row["median_ms"]),
            f"{digits(row['min_ms'])} to {digits(row['max_ms'])}",
            digits(row.get("naive_over_this")),
            digits(row["peak_mib"]),
            digits(row["gflop_per_s"]),
            _percent(row.get("of_peak")),
            digits(row["gbyte_per_s"]),
            _percent(row.get("of_copy")),
        ]
    return f"| {' | '.join([*head, *cells])} |"


def digits(value: float | None) -> str:
    """Return three significant digits, and all of the integer's."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}%" if share >= 0.01 else "<1%"


def _ratio(value: float | None, by: float | None) -> float | None:
    return value / by if value and by else None
