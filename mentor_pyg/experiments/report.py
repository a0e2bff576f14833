"""What a comparison found, as a report: a table with its spread, tests, curves and costs."""

from __future__ import annotations

import csv
import itertools
import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import FUSED, edge_label_index, modalities, num_items, num_users
from mentor_pyg.datasets.sources import read_source
from mentor_pyg.evaluation import users_by_activity
from mentor_pyg.experiments.comparing import STRATA, Cell, cells_of
from mentor_pyg.experiments.evidence import holm, paired_test
from mentor_pyg.experiments.figures import draw_curves, draw_views
from mentor_pyg.experiments.page import Section, Table, as_html, as_markdown
from mentor_pyg.experiments.plan import Plan
from mentor_pyg.files import replaced_whole
from mentor_pyg.losses import gaussian_alignment_loss, moments
from mentor_pyg.models import Recommender, build_model, load_model
from mentor_pyg.typing import View

__all__ = ["write_report"]

_ENOUGH = 5
"""Seeds from which on a table is not called preliminary."""


def write_report(
    plan: Plan, out: Path, name: str = "report", page: Path | None = None
) -> list[Path]:
    """Write the cells that are there as Markdown and as HTML, and return the files.

    Args:
        plan: The plan.
        out: The folder of the comparison; figures go to ``figures``.
        name: The name of both files, without suffix.
        page: A file that gets the Markdown too, without figures.
    """
    commands = (
        shlex.join(["mentor-pyg", command, "--config", str(plan.path), "--out", str(out)])
        for command in ("search", "compare")
    )
    sections = [Section(title="Comparison", level=1, text=_reading(plan), code="\n".join(commands))]
    cells = cells_of(plan, out)
    for data in plan.data:
        of_data = [cell for cell in cells if cell.data == data]
        sections += _sections(plan, data, of_data, out)
    texts = {
        out / f"{name}.md": as_markdown(sections, out),
        out / f"{name}.html": as_html(sections),
    }
    if page is not None:
        texts[page] = as_markdown([s for s in map(_without_figure, sections) if s is not None], out)
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_whole(path) as partial:
            partial.write_text(text, encoding="utf-8")
    return list(texts)


def _without_figure(section: Section) -> Section | None:
    """Return a section without its figure; ``None`` if there is nothing else in it."""
    if section.figure is not None and section.table is None:
        return None
    return replace(section, figure=None)


def _reading(plan: Plan) -> list[str]:
    return [
        "Every model was trained on the train split, its epoch and its settings were chosen by the "
        "recall on validation, and test was ranked once after that: all items, train items left "
        "out, users without train interactions left out. Values are means over seeds, with the "
        "standard deviation between seeds; models without gradients have no seeds.",
        f"Where settings were searched, every model had {plan.trials} trials on each dataset. "
        "Models whose difference is not significant after Holm's correction should not be "
        "called better or worse than each other; that a model is below another here says nothing "
        "about other data, other features or other ways to split.",
    ]


def _sections(plan: Plan, data: str, cells: Sequence[Cell], out: Path) -> list[Section]:
    results = [(cell, cell.result) for cell in cells]
    done = [(cell, r) for cell, r in results if r is not None and "error" not in r]
    failed = [(cell, r) for cell, r in results if r is not None and "error" in r]
    missing = [cell for cell, r in results if r is None]
    graph = read_source(plan.data[data])
    sections = [_facts(data, graph, done, missing)]
    if done:
        groups: dict[str, list[tuple[Cell, dict[str, Any]]]] = {}
        for cell, result in done:
            groups.setdefault(cell.entry.label, []).append((cell, result))
        order = sorted(groups, key=lambda label: -_mean(groups[label], "val", _longest(groups)))
        groups = {label: groups[label] for label in order}
        sections.append(_accuracy(groups))
        sections += _tests(groups)
        sections += _ablations(groups)
        sections.append(_strata(graph, groups))
        sections += _modalities(groups)
        sections.append(_beyond(groups))
        sections += _curves(data, groups, out)
        sections += _views(data, graph, groups, out)
        sections.append(_costs(groups))
    for cell, result in failed:
        sections.append(
            Section(
                title=f"Failed: {cell.entry.label}, seed {cell.seed}",
                level=3,
                text=[result["error"]],
                code=result["again"],
            )
        )
    return sections


def _facts(
    data: str,
    graph: HeteroData,
    done: Sequence[tuple[Cell, Mapping[str, Any]]],
    missing: Sequence[Cell],
) -> Section:
    sizes = [edge_label_index(graph, split).size(1) for split in ("train", "val", "test")]
    text = [
        f"{num_users(graph):,} users, {num_items(graph):,} items; {sizes[0]:,} train, {sizes[1]:,} "
        f"validation and {sizes[2]:,} test interactions. No interaction is in two splits."
    ]
    if done:
        text.append(f"Checksum of the data and their split: {done[0][1]['data']}.")
    seeds = {cell.entry.label: 0 for cell, _ in done if cell.entry.has_seeds}
    for cell, _ in done:
        if cell.entry.label in seeds:
            seeds[cell.entry.label] += 1
    few = sorted(label for label, count in seeds.items() if count < _ENOUGH)
    if few or missing:
        text.append(
            f"Preliminary: fewer than {_ENOUGH} seeds of {', '.join(few) or 'none'}; "
            f"{len(missing)} cells are still to be trained."
        )
    return Section(title=data, text=text)


_Groups = Mapping[str, Sequence[tuple[Cell, Mapping[str, Any]]]]


def _longest(groups: _Groups) -> str:
    result = next(iter(groups.values()))[0][1]
    return max((key for key in result["val"] if key.startswith("recall@")), key=_length)


def _length(key: str) -> int:
    return int(key.partition("@")[2])


def _values(group: Sequence[tuple[Cell, Mapping[str, Any]]], part: str, key: str) -> list[float]:
    return [float(result[part][key]) for _, result in group]


def _mean(group: Sequence[tuple[Cell, Mapping[str, Any]]], part: str, key: str) -> float:
    return statistics.fmean(_values(group, part, key))


def _accuracy(groups: _Groups) -> Section:
    longest = _longest(groups)
    result = next(iter(groups.values()))[0][1]
    keys = [key for key in result["test"] if key.split("@")[0] in ("recall", "ndcg")]
    rows, bold = [], set()
    for label, group in groups.items():
        rows.append([label, str(len(group)), f"{_mean(group, 'val', longest):.4f}"])
        rows[-1] += [_spread(_values(group, "test", key)) for key in keys]
    for column, key in enumerate(keys):
        best = max(range(len(rows)), key=lambda r: _mean(list(groups.values())[r], "test", key))
        bold.add((best, column + 3))
    columns = ["model", "seeds", f"val {longest}", *(f"test {key}" for key in keys)]
    table = Table(columns=columns, rows=rows, bold=frozenset(bold))
    return Section(title="Accuracy", level=3, text=["In the order of validation."], table=table)


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.fmean(values):.4f}"
    return f"{mean} ± {statistics.stdev(values):.4f}" if len(values) > 1 else mean


def _per_user(group: Sequence[tuple[Cell, Any]], key: str) -> np.ndarray:
    """Return the metric of every test user, the mean over seeds."""
    return np.mean([cell.per_user[key].double().numpy() for cell, _ in group], axis=0)


def _tests(groups: _Groups) -> list[Section]:
    """Compare the model that is best on validation with all others, but for variants."""
    first, *others = [label for label, group in groups.items() if group[0][0].entry.base is None]
    if not others:
        return []
    text = (
        f"{first}, the best on validation, against every other model: the difference of "
        f"{_longest(groups)} on test, paired over users, each user's value averaged over seeds. "
        f"The interval is bootstrapped over users, p is that of Wilcoxon's signed-rank test, and "
        f"the effect the rank-biserial correlation. Seeds are not resampled: with few of them, "
        f"look at their spread too."
    )
    table = _paired(groups, first, others)
    return [Section(title="Paired tests", level=3, text=[text], table=table)]


def _ablations(groups: _Groups) -> list[Section]:
    """Compare every model that has variants with these."""
    bases: dict[str, list[str]] = {}
    for label, group in groups.items():
        base = group[0][0].entry.base
        if base is not None and base.label in groups:
            bases.setdefault(base.label, []).append(label)
    text = (
        "{} against its variants, which have its settings but for what their name says. As above."
    )
    return [
        Section(
            title=f"Ablation of {base}",
            level=3,
            text=[text.format(base)],
            table=_paired(groups, base, variants),
        )
        for base, variants in bases.items()
    ]


def _paired(groups: _Groups, first: str, others: Sequence[str]) -> Table:
    key = _longest(groups)
    reference = _per_user(groups[first], key)
    found = [paired_test(reference, _per_user(groups[label], key)) for label in others]
    rows = [
        [
            label,
            f"{_mean(groups[label], 'test', key):.4f}",
            f"{test.difference:+.4f}",
            f"{test.low:+.4f} to {test.high:+.4f}",
            f"{test.effect:+.3f}",
            f"{test.p:.2g}",
            f"{p:.2g}",
        ]
        for label, test, p in zip(others, found, holm([t.p for t in found]), strict=True)
    ]
    columns = ["model", key, "difference", "95% interval", "effect", "p", "p after Holm"]
    return Table(columns=columns, rows=rows)


def _beyond(groups: _Groups) -> Section:
    result = next(iter(groups.values()))[0][1]
    keys = [key for key in result["beyond"] if _length(key) == _length(_longest(groups))]
    rows = [
        [label, *(f"{_mean(group, 'beyond', key):.4g}" for key in keys)]
        for label, group in groups.items()
    ]
    return Section(
        title="Beyond accuracy", level=3, table=Table(columns=["model", *keys], rows=rows)
    )


def _costs(groups: _Groups) -> Section:
    rows = []
    for label, group in groups.items():
        times = [r["epoch_seconds"] for _, r in group if r["epoch_seconds"] is not None]
        peaks = [r["peak_mib"] for _, r in group if r["peak_mib"] is not None]
        rows.append(
            [
                label,
                f"{statistics.fmean([r['best_epoch'] for _, r in group]):.0f}",
                f"{statistics.median(times):.2f}" if times else "",
                f"{max(peaks):,.0f}" if peaks else "",
            ]
        )
    columns = ["model", "best epoch", "seconds an epoch", "peak memory, MiB"]
    text = "Seconds with validation, and the memory of the whole process, where it was run."
    return Section(title="Costs", level=3, text=[text], table=Table(columns=columns, rows=rows))


def _strata(data: HeteroData, groups: _Groups) -> Section:
    """Return the recall by train interactions, of items and of users."""
    key, names = _longest(groups), _group_names(STRATA)
    activity = users_by_activity(data, STRATA)
    rows = []
    for label, group in groups.items():
        items = np.array([result["items"] for _, result in group], dtype=float).mean(axis=0)
        values, of_user = _per_user(group, key), activity[group[0][0].per_user["user"]].numpy()
        users = [values[of_user == number] for number in range(1, len(names))]
        rows.append([label, *(_number(x) for x in items)])
        rows[-1] += [_number(x.mean() if x.size else np.nan) for x in users]
    columns = ["model", *(f"items {n}" for n in names), *(f"users {n}" for n in names[1:])]
    text = (
        f"{key} on test by the number of train interactions. Of items: the mean, over users who "
        f"have test items of the group, of the share of these that is in the list of all items. "
        f"Items {names[0]} are cold. Users {names[0]} are not ranked."
    )
    table = Table(columns=columns, rows=rows)
    return Section(title="By popularity and activity", level=3, text=[text], table=table)


def _group_names(at_least: Sequence[int]) -> list[str]:
    """Return the names of the groups that lower bounds make: ``0``, ``1 to 4``, ``20 or more``."""
    bounds = [(low, high - 1) for low, high in itertools.pairwise((0, *at_least))]
    inner = [str(low) if low == high else f"{low} to {high}" for low, high in bounds]
    return [*inner, f"{at_least[-1]} or more"]


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


def _modalities(groups: _Groups) -> list[Section]:
    """Return what every modality brings: hidden from the trained model, and never trained with."""
    key, rows = _longest(groups), []
    for label, group in groups.items():
        whole, entry = _mean(group, "test", key), group[0][0].entry
        for modality in group[0][1]["hidden"]:
            hidden = statistics.fmean(result["hidden"][modality] for _, result in group)
            rows.append([label, modality, f"{whole:.4f}", f"{hidden - whole:+.4f}", ""])
            for variant in groups.values():
                of = variant[0][0].entry
                only = of.without == (modality,) and not of.settings and not of.training
                if of.base is not None and of.base.label == entry.label and only:
                    rows[-1][-1] = f"{_mean(variant, 'test', key) - whole:+.4f}"
    if not rows:
        return []
    text = (
        f"The change of {key} on test when no item has the modality: hidden when the trained model "
        f"ranks, and trained without from the start, where the plan has that variant."
    )
    columns = ["model", "modality", key, "hidden", "trained without"]
    table = Table(columns=columns, rows=rows)
    return [Section(title="What modalities bring", level=3, text=[text], table=table)]


def _curves(data: str, groups: _Groups, out: Path) -> list[Section]:
    """Draw the recall on validation over epochs, the mean over the seeds that are still trained."""
    metric = _longest(groups)
    trained = {label: group for label, group in groups.items() if group[0][0].entry.has_seeds}
    if not trained:
        return []
    means = {}
    for label, group in trained.items():
        curves = [_curve(cell, f"val/{metric}") for cell, _ in group]
        epochs = range(max(map(len, curves)))
        means[label] = [float(np.mean([c[i] for c in curves if i < len(c)])) for i in epochs]
    path = out / "figures" / f"{data}-curves.png"
    draw_curves(means, metric, path)
    return [Section(title=f"Training curves on {data}", level=3, figure=path)]


def _curve(cell: Cell, key: str) -> list[float]:
    with open(cell.folder / "run" / "logs" / "csv" / "metrics.csv", newline="") as file:
        return [float(row[key]) for row in csv.DictReader(file)]


def _views(name: str, data: HeteroData, groups: _Groups, out: Path) -> list[Section]:
    """Return, of models with views of ids and of modalities, how these lie to each other."""
    sections = []
    for label, group in groups.items():
        cell, result = group[0]
        if not cell.entry.has_seeds or cell.entry.base is not None:
            continue
        views = _before_and_after(cell, result, cell.entry.reads(data))
        if len(views["before training"]) < 2:
            continue
        path = out / "figures" / f"{name}-{label}-views.png"
        draw_views(views, path)
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
    trained = load_model(cell.folder / "run" / "model.safetensors", data)
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


def _distance(a: Tensor, b: Tensor) -> float:
    return gaussian_alignment_loss(moments(a), moments(b)).item()
