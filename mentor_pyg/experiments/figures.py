"""The figures of a report, PNG files: training curves, and views before and after training."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import FUSED, modalities
from mentor_pyg.dependencies import require
from mentor_pyg.experiments.comparing import Cell
from mentor_pyg.experiments.tables import Groups, longest
from mentor_pyg.files import replaced_whole
from mentor_pyg.losses import gaussian_alignment_loss, moments
from mentor_pyg.models import Recommender, build_model, load_model
from mentor_pyg.page import Section, Table
from mentor_pyg.typing import View

__all__ = ["training_curves", "view_figures"]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""
_STYLES = ("-", "--", ":", "-.")
_MARKERS = ("o", "^", "s", "x", "+", "D", "v")
_POINTS = 400
"""Items of a view that are drawn."""


def training_curves(data: str, groups: Groups, path: Path) -> list[Section]:
    """Draw the recall on validation over epochs, the mean over the seeds that are still trained.

    Models without gradients have no curve, and variants of models are left out.
    """
    metric = longest(groups)
    entries = {label: group[0][0].entry for label, group in groups.items()}
    trained = {
        label: groups[label] for label, e in entries.items() if e.has_seeds and e.base is None
    }
    if not trained:
        return []
    means = {}
    for label, group in trained.items():
        found = [_curve(cell, f"val/{metric}") for cell, _ in group]
        epochs = range(max(map(len, found)))
        means[label] = [float(np.mean([c[i] for c in found if i < len(c)])) for i in epochs]
    _draw_curves(means, metric, path)
    return [Section(title=f"Training curves on {data}", level=3, figure=path)]


def _curve(cell: Cell, key: str) -> list[float]:
    path = cell.folder / "run" / "logs" / "csv" / "metrics.csv"
    if not path.is_file():  # Somebody made room.
        return []
    with open(path, newline="") as file:
        return [float(row[key]) for row in csv.DictReader(file)]


def view_figures(name: str, data: HeteroData, groups: Groups, out: Path) -> list[Section]:
    """Return, of models with views of ids and of modalities, how these lie to each other."""
    sections = []
    for label, group in groups.items():
        cell, result = group[0]
        if not cell.entry.has_seeds or cell.entry.base is not None:
            continue
        if not _weights(cell).is_file():  # Somebody made room.
            continue
        views = _before_and_after(cell, result, cell.entry.reads(data))
        if len(views["before training"]) < 2:
            continue
        path = out / "figures" / f"{name}-{label}-views.png"
        _draw_views(views, path)
        pairs = list(itertools.combinations(views["before training"], 2))
        rows = [
            [f"{a} and {b}", *(f"{_distance(rows[a], rows[b]):.4f}" for rows in views.values())]
            for a, b in pairs
        ]
        text = (
            "Items of every view, scaled to unit length, with the first seed: drawn on their two "
            "principal axes, and the distance of two views' means and variances, averaged over "
            "columns."
        )
        table = Table(columns=["views", *views], rows=rows)
        title = f"Views of {label} on {name}"
        sections.append(Section(title=title, level=3, text=[text], table=table, figure=path))
    return sections


def _before_and_after(
    cell: Cell, result: Mapping[str, Any], data: HeteroData
) -> dict[str, dict[View, Tensor]]:
    """Return the items of the views of one width, but for the fused one, as unit rows."""
    trained = load_model(_weights(cell), data)
    torch.manual_seed(cell.seed)  # As training starts.
    fresh = build_model(cell.entry.model, data, result["config"]["model"]["settings"])
    inputs, found = trained.prepare(data), dict[str, dict[View, Tensor]]()
    for title, model in (("before training", fresh), ("after training", trained)):
        assert isinstance(model, Recommender)
        with torch.no_grad():
            item = model.encode(inputs).item
        width = next((item[m].size(1) for m in modalities(data) if m in item), 0)
        found[title] = {
            view: F.normalize(rows)
            for view, rows in item.items()
            if view != FUSED and rows.size(1) == width
        }
    return found


def _weights(cell: Cell) -> Path:
    return cell.folder / "run" / "model.safetensors"


def _distance(a: Tensor, b: Tensor) -> float:
    return gaussian_alignment_loss(moments(a), moments(b)).item()


def _draw_curves(curves: Mapping[str, Sequence[float]], metric: str, path: Path) -> None:
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
    axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(fontsize="small", loc="outside right upper")
    _save(figure, path)


def _draw_views(views: Mapping[str, Mapping[View, Tensor]], path: Path) -> None:
    """Draw the items of several views as points on the two principal axes of all of them.

    Args:
        views: Per title of a panel the rows of every view ``[num_items, d]``.
        path: The PNG file.
    """
    figure = _figure(4 * len(views) + 1, 4)
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
    figure.legend(
        *panels[0].get_legend_handles_labels(), fontsize="small", loc="outside right upper"
    )
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
