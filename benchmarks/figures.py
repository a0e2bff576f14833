"""The roofline and the scaling curves of a report, as PNG files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from measure import Row
from report import digits, is_on_curve
from suites.machine import COPY

from mentor_pyg.dependencies import require

__all__ = ["draw"]

# Okabe and Ito's palette, which colour-blind readers can tell apart.
_COLOURS = {
    "propagate": "#0072B2",
    "infonce": "#D55E00",
    "knn": "#009E73",
    "ranking": "#CC79A7",
}
_BEST, _NAIVE, _GREY = "#0072B2", "#D55E00", "#666666"
_AXES = {
    "nodes": "nodes",
    "rows": "nodes contrasted",
    "edges": "non-zeros",
    "width": "width",
    "modalities": "modalities",
}
_TITLES = {
    "nodes": "Propagation\nover nodes",
    "rows": "InfoNCE\nover nodes",
    "edges": "Propagation\nover edges",
    "width": "Propagation\nover width",
    "modalities": "Training step\nover modalities",
}
_FITTED = {
    ("nodes", "peak_mib"): "propagation over nodes: memory",
    ("nodes", "median_ms"): "propagation over nodes: time",
    ("rows", "peak_mib"): "InfoNCE over nodes: memory",
    ("rows", "median_ms"): "InfoNCE over nodes: time",
}
_SIZES = {"nodes": "(N d + E)", "rows": "(N d)"}
_STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "savefig.dpi": 150,
}


def draw(report: dict[str, Any], out: Path) -> None:
    """Write ``<out>-roofline.png`` and ``<out>-scaling.png``, where there is something to show.

    Raises:
        MissingPackageError: If matplotlib is missing; the message names the extra that brings it.
    """
    require("matplotlib", extra="bench", purpose="Drawing figures")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context(_STYLE):
        for name, figure in (("roofline", _roofline(report)), ("scaling", _scaling(report))):
            if figure is not None:
                figure.savefig(out.with_name(f"{out.name}-{name}.png"), bbox_inches="tight")
                pyplot.close(figure)


def _roofline(report: dict[str, Any]) -> Any | None:
    from matplotlib import pyplot

    rows = [r for r in report["rows"] if r["status"] == "ok" and r["suite"] in _COLOURS]
    rows = [r for r in rows if r["gflop"] and r["gbyte"]]
    peaks = report["peaks"]
    if not rows or COPY not in peaks:
        return None
    figure, axes = pyplot.subplots(figsize=(10, 6.5))
    intensity = [r["gflop"] / r["gbyte"] for r in rows]
    # Room on the right, where the labels of dense work stand.
    limits = min(0.1, *intensity) / 1.5, max(intensity) * 400
    _draw_roofs(axes, peaks, limits)
    labels = []
    for best, naive in _pairs(rows):
        x, y = best["gflop"] / best["gbyte"], best["gflop_per_s"]
        colour = _COLOURS[best["suite"]]
        if naive is not None and naive is not best:
            axes.plot([x, x], [naive["gflop_per_s"], y], color=colour, lw=0.8, alpha=0.5)
            axes.plot(x, naive["gflop_per_s"], "o", color="white", mec=colour, ms=6)
        axes.plot(x, y, "o", color=colour, ms=7)
        labels.append((x, y, _short(best), colour))
    axes.set(xscale="log", yscale="log", xlim=limits)
    low = min(r["gflop_per_s"] for r in rows) / 2
    axes.set_ylim(low, 2.5 * max(peak for name, peak in peaks.items() if name != COPY))
    _place_labels(axes, labels)
    axes.set_xlabel("FLOP per byte that has to move")
    axes.set_ylabel("GFLOP/s")
    axes.set_title(
        f"What is reached of {_device(report)}\n"
        "filled: the fastest backend other than naive; hollow: naive; lines: measured peaks"
    )
    return figure


def _draw_roofs(axes: Any, peaks: dict[str, float], limits: tuple[float, float]) -> None:
    x = np.geomspace(*limits, 400)
    for precision, peak in peaks.items():
        if precision == COPY:
            continue
        axes.plot(x, np.minimum(peaks[COPY] * x, peak), color=_GREY, lw=1.2)
        axes.annotate(
            f"matrix product, {precision}: {digits(peak)} GFLOP/s",
            (max(1.3 * peak / peaks[COPY], 10), peak),
            (0, 4),
            textcoords="offset points",
            color=_GREY,
        )
    axes.annotate(
        f"copy: {digits(peaks[COPY])} GB/s",
        (limits[0], peaks[COPY] * limits[0]),
        (12, -6),
        textcoords="offset points",
        color=_GREY,
    )


def _pairs(rows: list[Row]) -> Iterable[tuple[Row, Row | None]]:
    """Yield the fastest row of every case and precision, with the case's naive row."""
    cases: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        cases.setdefault((row["suite"], row["case"]), []).append(row)
    for group in cases.values():
        naive = next((r for r in group if r["backend"].startswith("naive")), None)
        others = [r for r in group if r["backend"] != "product alone" and r is not naive]
        for precision in dict.fromkeys(r["precision"] for r in others):
            same = [r for r in others if r["precision"] == precision]
            yield min(same, key=lambda r: r["median_ms"]), naive


def _short(row: Row) -> str:
    name = row["case"].replace(", forward + backward", "").replace("all test users, ", "")
    kind = "copy" if row["suite"] == "propagate" else "peak"
    backend = "" if row["backend"] in ("knn_graph", "full_ranking") else f", {row['backend']}"
    suite = {"propagate": "", "infonce": "InfoNCE, ", "knn": "kNN, ", "ranking": "ranking, "}
    return f"{suite[row['suite']]}{name}{backend}: {100 * row[f'of_{kind}']:.0f}% of {kind}"


def _place_labels(axes: Any, labels: list[tuple[float, float, str, str]]) -> None:
    """Write labels right of their points, moved apart where they would meet."""
    axes.figure.canvas.draw()
    to_pixels = axes.transData.transform
    height = 17 * axes.figure.dpi / 100
    columns: dict[bool, list[tuple[float, float, str, str]]] = {}
    for label in labels:  # Sparse work stands left, dense work right; each has its own column.
        columns.setdefault(label[0] > 10, []).append(label)
    for column in columns.values():
        column.sort(key=lambda label: label[1])
        wanted = [float(to_pixels((x, y))[1]) for x, y, *_ in column]
        placed = _spread(wanted, height)
        right = max(float(to_pixels((x, y))[0]) for x, y, *_ in column) + 14
        for (x, y, text, colour), pixel in zip(column, placed, strict=True):
            target = axes.transData.inverted().transform((right, pixel))
            axes.annotate(
                text,
                (x, y),
                target,
                color=colour,
                fontsize=8.5,
                va="center",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.85},
                arrowprops={
                    "arrowstyle": "-",
                    "color": colour,
                    "lw": 0.6,
                    "relpos": (0, 0.5),
                    "shrinkA": 0,
                },
            )


def _spread(wanted: list[float], gap: float) -> list[float]:
    """Return ascending positions at least ``gap`` apart, near the ascending ones wanted."""
    placed: list[float] = []
    for position in wanted:
        placed.append(max(position, placed[-1] + gap) if placed else position)
    shift = float(np.mean(np.subtract(placed, wanted))) if placed else 0.0
    return [position - shift for position in placed]


def _scaling(report: dict[str, Any]) -> Any | None:
    from matplotlib import pyplot

    curves = [c for c in _AXES if any(is_on_curve(r, c) for r in report["rows"])]
    if not curves:
        return None
    figure, grid = pyplot.subplots(
        2, len(curves), figsize=(3.1 * len(curves), 6), sharex="col", squeeze=False
    )
    for column, curve in enumerate(curves):
        for axes, key in zip(grid[:, column], ("median_ms", "peak_mib"), strict=True):
            _draw_curve(axes, report, curve, key)
        grid[0, column].set_title(_TITLES[curve])
        grid[1, column].set_xlabel(_AXES[curve])
    grid[0, 0].set_ylabel("time, ms")
    grid[1, 0].set_ylabel("peak memory over inputs, MiB")
    figure.suptitle(f"Time and memory of a call on {_device(report)}", x=0.01, ha="left")
    figure.tight_layout()
    return figure


def _draw_curve(axes: Any, report: dict[str, Any], curve: str, key: str) -> None:
    abscissa = "nodes" if curve == "rows" else curve
    found: list[tuple[float, float]] = []
    for backend, colour, marker in (("naive", _NAIVE, "s"), ("auto", _BEST, "o")):
        rows = [r for r in report["rows"] if is_on_curve(r, curve) and r["backend"] == backend]
        points = [(r["facts"][abscissa], r[key]) for r in rows if r[key]]
        if not points:
            continue
        found += points
        x, y = zip(*points, strict=True)
        axes.plot(x, y, marker=marker, color=colour, ms=5, lw=1.5)
        axes.annotate(
            backend, (x[-1], y[-1]), (0, 8), textcoords="offset points", color=colour, ha="center"
        )
    _scale_axes(axes, curve, found)
    fit = report["fits"].get(_FITTED.get((curve, key), ""))
    if fit is not None:
        text = f"grows as {_SIZES[curve]}$^{{{fit['exponent']:.2f}}}$"
        axes.text(0.97, 0.04, text, transform=axes.transAxes, ha="right", color=_BEST)
    axes.grid(alpha=0.25, lw=0.5)


def _scale_axes(axes: Any, curve: str, points: list[tuple[float, float]]) -> None:
    from matplotlib import ticker

    if not points:
        return
    x, y = (sorted(set(values)) for values in zip(*points, strict=True))
    if curve == "modalities":
        axes.set_xticks(x)
        axes.set_ylim(0, 1.25 * y[-1])
        return
    axes.set(xscale="log", yscale="log", xlim=(x[0] / 1.6, x[-1] * 1.6))
    # A decade at least, so that what hardly grows does not look steep.
    axes.set_ylim(y[0] / 2, max(4 * y[-1], 5 * y[0]))
    axes.set_xticks(x, [_count(value) for value in x], fontsize=8)
    if axes.get_ylim()[1] < 50 * axes.get_ylim()[0]:
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(ticker.NullFormatter())
    axes.xaxis.set_minor_locator(ticker.NullLocator())


def _count(value: float) -> str:
    for unit, name in ((10**6, "M"), (10**3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:g}"


def _device(report: dict[str, Any]) -> str:
    machine = report["machine"]
    if machine["device"] != "cpu":
        return str(machine["device"])
    plural = "s" if machine["threads"] > 1 else ""
    return f"{machine['cpu'].split(' (')[0]}, {machine['threads']} thread{plural}"
