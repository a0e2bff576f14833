"""The figures of a report, as PNG files: training curves, and views before and after training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mentor_pyg.dependencies import require
from mentor_pyg.files import replaced_whole
from mentor_pyg.typing import View

__all__ = ["draw_curves", "draw_views"]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""
_STYLES = ("-", "--", ":", "-.")
_MARKERS = ("o", "^", "s", "x", "+", "D", "v")
_POINTS = 400
"""Items of a view that are drawn."""


def draw_curves(curves: Mapping[str, Sequence[float]], metric: str, path: Path) -> None:
    """Draw a metric on validation over epochs, a line per label.

    Args:
        curves: Per label the values from epoch 1 on.
        metric: What they are of.
        path: The PNG file.
    """
    figure = _figure(8, 4.5)
    axes = figure.subplots()
    for number, (label, values) in enumerate(curves.items()):
        style = _STYLES[number // len(_COLOURS) % len(_STYLES)]
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(range(1, len(values) + 1), values, style, color=colour, label=label)
    axes.set(xlabel="epoch", ylabel=f"{metric} on validation")
    figure.legend(fontsize="small", loc="outside right upper")
    _save(figure, path)


def draw_views(views: Mapping[str, Mapping[View, Tensor]], path: Path) -> None:
    """Draw the items of several views as points on the two principal axes of all of them.

    Args:
        views: Per title of a panel the rows of every view ``[num_items, d]``.
        path: The PNG file.
    """
    figure = _figure(4 * len(views), 4)
    panels = figure.subplots(1, len(views), squeeze=False)[0]
    for axes, (title, rows) in zip(panels, views.items(), strict=True):
        step = -(-next(iter(rows.values())).size(0) // _POINTS)
        drawn = {view: x[::step] for view, x in rows.items()}
        everything = torch.cat(list(drawn.values()))
        centre = everything.mean(dim=0)
        axes_of = torch.linalg.svd(everything - centre, full_matrices=False).Vh[:2]
        for number, (view, x) in enumerate(drawn.items()):
            style = {"marker": _MARKERS[number % len(_MARKERS)], "s": 9, "alpha": 0.6}
            points = ((x - centre) @ axes_of.t()).t().numpy()
            axes.scatter(*points, color=_COLOURS[number % len(_COLOURS)], label=view, **style)
        axes.set(title=title, xticks=[], yticks=[])
    panels[0].legend(fontsize="small")
    _save(figure, path)


def _figure(width: float, height: float) -> Any:
    require("matplotlib", extra="experiments", purpose="Drawing figures")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_whole(path) as partial:
        figure.savefig(partial, dpi=150, format="png")
