"""What a comparison found, as a report of tables and figures."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from torch_geometric.data import HeteroData

from mentor_pyg.data import edge_label_index, fingerprint, num_items, num_users
from mentor_pyg.datasets.sources import read_source
from mentor_pyg.dependencies import require
from mentor_pyg.experiments.comparing import Asked, Cell, cells_of
from mentor_pyg.experiments.figures import training_curves, view_figures
from mentor_pyg.experiments.plan import Plan
from mentor_pyg.experiments.tables import (
    Groups,
    ablations,
    accuracy,
    beyond_accuracy,
    costs,
    longest,
    mean,
    modality_changes,
    paired_tests,
    strata,
)
from mentor_pyg.files import replaced_whole
from mentor_pyg.models.registry import find_model
from mentor_pyg.page import Section, as_html, as_markdown

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
        name: The name of both files, without suffix: ``"report"`` of a comparison, or
            ``"ablation"``.
        page: A file that gets the Markdown too, without figures.
    """
    command, title, prefix = (
        ("compare", "Comparison", "") if name == "report" else ("ablate", "Ablation", f"{name}-")
    )
    names = ["search", command] if any(e.space for e in plan.models.values()) else [command]
    commands = "\n".join(_command(one, plan, out) for one in names)
    sections = [Section(title=title, level=1, text=_reading(plan), code=commands)]
    cells = cells_of(plan, out)
    for data in plan.data:
        of_data = [cell for cell in cells if cell.data == data]
        sections += _sections(plan, data, of_data, out, prefix, command)
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
    searched = ""
    entries = [entry for entry in plan.models.values() if entry.base is None]
    if any(entry.space for entry in entries):
        given = ", ".join(entry.label for entry in entries if not entry.space)
        but = f" The settings of {given} were given." if given else ""
        searched = (
            f"A model that was searched had {plan.trials} trials on each dataset, or one of every "
            f"point where it has fewer.{but} "
        )
    return [
        "Every model was trained on the train split, its epoch and its settings were chosen by the "
        "recall on validation, and test was ranked once after that: all items, train items left "
        "out, users without train interactions left out. Values are means over seeds, with the "
        "standard deviation between seeds; models without gradients have no seeds.",
        f"{searched}Models whose difference is not significant after Holm's correction should not "
        "be called better or worse than each other; that a model is below another here says "
        "nothing about other data, other features or other ways to split.",
        *plan.notes,
    ]


def _sections(
    plan: Plan, data: str, cells: Sequence[Cell], out: Path, prefix: str, command: str
) -> list[Section]:
    """Return what is found on a dataset; files of this report alone have names with a prefix.

    A cell that failed is tried again by the command.
    """
    graph = read_source(plan.data[data])
    asked = Asked(plan, graph, out)
    results = [(cell, _result(cell, asked)) for cell in cells]
    done = [(cell, r) for cell, r in results if r is not None and "error" not in r]
    failed = [(cell, r) for cell, r in results if r is not None and "error" in r]
    missing = [cell for cell, r in results if r is None]
    sections = [_facts(data, graph, done, missing)]
    if done:
        groups: dict[str, list[tuple[Cell, dict[str, Any]]]] = {}
        for cell, result in done:
            groups.setdefault(cell.entry.label, []).append((cell, result))
        order = sorted(groups, key=lambda label: -mean(groups[label], "val", longest(groups)))
        groups = {label: groups[label] for label in order}
        sections.append(
            accuracy(groups, _write_users(groups, out / f"{prefix}users-{data}.parquet"))
        )
        sections += paired_tests(groups)
        sections += ablations(groups)
        sections.append(strata(graph, groups))
        sections += modality_changes(groups)
        sections.append(beyond_accuracy(groups))
        sections += training_curves(data, groups, out / "figures" / f"{prefix}{data}-curves.png")
        sections += view_figures(data, graph, groups, out)
        sections.append(costs(groups))
    for cell, result in failed:
        sections.append(
            Section(
                title=f"Failed: {cell.entry.label}, seed {cell.seed}",
                level=3,
                text=[result["error"]],
                code=_command(command, plan, out, "--only", cell.entry.label)
                if "traceback" in result
                else "",
            )
        )
    return sections


def _result(cell: Cell, asked: Asked) -> dict[str, Any] | None:
    """Return a cell's result; as one that failed if it is damaged or of another plan."""
    try:
        if cell.is_done:
            asked.check(cell)
        return cell.result
    except (OSError, ValueError) as error:
        return {"error": str(error)}


def _write_users(groups: Groups, path: Path) -> str:
    """Write the metrics of every user under every model and seed as one table; return its name."""
    require("pyarrow", extra="experiments", purpose="Keeping every user's metrics")
    frames = []
    for label, group in groups.items():
        for cell, _ in group:
            columns = {key: value.numpy() for key, value in cell.per_user.items()}
            frames.append(pd.DataFrame({"model": label, "seed": cell.seed, **columns}))
    with replaced_whole(path) as partial:
        pd.concat(frames).astype({"model": "category"}).to_parquet(partial, index=False)
    return path.name


def _command(name: str, plan: Plan, out: Path, *rest: str) -> str:
    """Return a command that makes or goes on with a comparison, models of others imported."""
    modules = {find_model(entry.model).__module__ for entry in plan.models.values()}
    others = sorted(m for m in modules if m.partition(".")[0] != __name__.partition(".")[0])
    imports = [word for module in others for word in ("--import", module)]
    words = ["mentor-pyg", name, *imports, "--config", str(plan.path), "--out", str(out), *rest]
    return shlex.join(words)


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
        text.append(f"Checksum of the data and their split: {fingerprint(graph)}.")
    seeds = Counter(cell.entry.label for cell, _ in done if cell.entry.has_seeds)
    few = sorted(label for label, count in seeds.items() if count < _ENOUGH)
    lacking = [f"fewer than {_ENOUGH} seeds of {', '.join(few)}"] if few else []
    lacking += [f"{len(missing)} cells are still to be trained"] if missing else []
    if lacking:
        text.append(f"Preliminary: {'; '.join(lacking)}.")
    return Section(title=data, text=text)
