"""The tables of a report."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from torch_geometric.data import HeteroData

from mentor_pyg.evaluation import users_by_activity
from mentor_pyg.experiments.comparing import STRATA, Cell
from mentor_pyg.experiments.evidence import holm, paired_test
from mentor_pyg.page import Section, Table

__all__ = [
    "Groups",
    "ablations",
    "accuracy",
    "beyond_accuracy",
    "costs",
    "longest",
    "longest_recall",
    "mean",
    "modality_changes",
    "paired_tests",
    "strata",
]

Groups: TypeAlias = Mapping[str, Sequence[tuple[Cell, Mapping[str, Any]]]]
"""Per label its cells with their results, one for each seed."""


def longest(groups: Groups) -> str:
    """Return the key of the recall that selects."""
    return longest_recall(next(iter(groups.values()))[0][1]["val"])


def longest_recall(metrics: Mapping[str, float]) -> str:
    """Return the key of the recall of the longest list."""
    return max((key for key in metrics if key.startswith("recall@")), key=_length)


def _length(key: str) -> int:
    return int(key.partition("@")[2])


def _values(group: Sequence[tuple[Cell, Mapping[str, Any]]], part: str, key: str) -> list[float]:
    return [float(result[part][key]) for _, result in group]


def mean(group: Sequence[tuple[Cell, Mapping[str, Any]]], part: str, key: str) -> float:
    """Return a metric of a model, the mean over seeds."""
    return statistics.fmean(_values(group, part, key))


def accuracy(groups: Groups, users: str) -> Section:
    """Return means and deviations over seeds, the best in bold.

    Args:
        groups: The cells by label.
        users: The name of the file with the metrics of every user.
    """
    selects = longest(groups)
    result = next(iter(groups.values()))[0][1]
    keys = [key for key in result["test"] if key.split("@")[0] in ("recall", "ndcg")]
    rows, bold = [], set()
    for label, group in groups.items():
        rows.append([label, str(len(group)), f"{mean(group, 'val', selects):.4f}"])
        rows[-1] += [_spread(_values(group, "test", key)) for key in keys]
    for column, key in enumerate(keys):
        best = max(range(len(rows)), key=lambda r: mean(list(groups.values())[r], "test", key))
        bold.add((best, column + 3))
    columns = ["model", "seeds", f"val {selects}", *(f"test {key}" for key in keys)]
    table = Table(columns=columns, rows=rows, bold=frozenset(bold))
    text = f"In the order of validation. What each user has is in the comparison's {users}."
    return Section(title="Accuracy", level=3, text=[text], table=table)


def _spread(values: Sequence[float]) -> str:
    average = f"{statistics.fmean(values):.4f}"
    return f"{average} ± {statistics.stdev(values):.4f}" if len(values) > 1 else average


def _per_user(group: Sequence[tuple[Cell, Any]], key: str) -> np.ndarray:
    """Return the metric of every test user, the mean over seeds."""
    return np.mean([cell.per_user[key].double().numpy() for cell, _ in group], axis=0)


def paired_tests(groups: Groups) -> list[Section]:
    """Compare the model that is best on validation with all others, but for variants."""
    labels = [label for label, group in groups.items() if group[0][0].entry.base is None]
    if len(labels) < 2:
        return []
    first, *others = labels
    text = (
        f"{first}, the best on validation but for variants, against every other model: how far it "
        f"is ahead of each. "
        f"{_what_is_tested(groups)}"
    )
    table = _paired(groups, first, others)
    return [Section(title="Paired tests", level=3, text=[text], table=table)]


def _what_is_tested(groups: Groups) -> str:
    return (
        f"The difference of {longest(groups)} on test is paired over users, each user's value "
        f"averaged over seeds. The interval is bootstrapped over users, p is that of Wilcoxon's "
        f"signed-rank test, and the effect the rank-biserial correlation. Seeds are not resampled: "
        f"with few of them, look at their spread too."
    )


def ablations(groups: Groups) -> list[Section]:
    """Compare every model that has variants with these."""
    bases: dict[str, list[str]] = {}
    for label, group in groups.items():
        base = group[0][0].entry.base
        if base is not None and base.label in groups:
            bases.setdefault(base.label, []).append(label)
    text = (
        f"{{}} against its variants, which have its settings but for what their name says: how far "
        f"it is ahead of each. "
        f"{_what_is_tested(groups)}"
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


def _paired(groups: Groups, first: str, others: Sequence[str]) -> Table:
    key = longest(groups)
    reference = _per_user(groups[first], key)
    found = [paired_test(reference, _per_user(groups[label], key)) for label in others]
    rows = [
        [
            label,
            f"{mean(groups[label], 'test', key):.4f}",
            f"{test.difference:+.4f}",
            f"{test.low:+.4f} to {test.high:+.4f}",
            f"{test.effect:+.3f}",
            f"{test.p:.2g}",
            f"{p:.2g}",
        ]
        for label, test, p in zip(others, found, holm([t.p for t in found]), strict=True)
    ]
    columns = ["model", key, "behind by", "95% interval", "effect", "p", "p after Holm"]
    return Table(columns=columns, rows=rows)


def beyond_accuracy(groups: Groups) -> Section:
    """Return what lists of the length that selects have beside their accuracy."""
    result = next(iter(groups.values()))[0][1]
    keys = [key for key in result["beyond"] if _length(key) == _length(longest(groups))]
    rows = [
        [label, *(f"{mean(group, 'beyond', key):.4g}" for key in keys)]
        for label, group in groups.items()
    ]
    text = (
        "Of the lists of all users: the share of items that are in one (coverage), how unequally "
        "often items are in them, from 0 for all alike (gini), and of the items in them the mean "
        "self-information in bits (novelty, high where they are rarely bought) and the mean number "
        "of train interactions."
    )
    table = Table(columns=["model", *keys], rows=rows)
    return Section(title="Beyond accuracy", level=3, text=[text], table=table)


def costs(groups: Groups) -> Section:
    """Return times and memory."""
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


def strata(data: HeteroData, groups: Groups) -> Section:
    """Return the recall by train interactions, of items and of users."""
    key, names = longest(groups), _group_names(STRATA)
    activity = users_by_activity(data, STRATA)
    rows = []
    for label, group in groups.items():
        items = np.array([result["items"] for _, result in group], dtype=float).mean(axis=0)
        items = np.append(items, [np.nan] * (len(names) - len(items)))  # Nobody is so popular.
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


def modality_changes(groups: Groups) -> list[Section]:
    """Return what every modality brings: hidden from the trained model, and never trained with."""
    key, rows = longest(groups), []
    for label, group in groups.items():
        whole, entry = mean(group, "test", key), group[0][0].entry
        for modality in group[0][1]["hidden"]:
            hidden = statistics.fmean(result["hidden"][modality] for _, result in group)
            rows.append([label, modality, f"{whole:.4f}", f"{hidden - whole:+.4f}", ""])
            for variant in groups.values():
                of = variant[0][0].entry
                only = (of.without, of.missing) == ((modality,), entry.missing)
                only = only and not of.settings and not of.training
                if of.base is not None and of.base.label == entry.label and only:
                    rows[-1][-1] = f"{mean(variant, 'test', key) - whole:+.4f}"
    if not rows:
        return []
    text = (
        f"The change of {key} on test when no item has the modality: hidden when the trained model "
        f"ranks, and trained without from the start, where the plan has that variant."
    )
    columns = ["model", "modality", key, "hidden", "trained without"]
    table = Table(columns=columns, rows=rows, words=frozenset({1}))
    return [Section(title="What modalities bring", level=3, text=[text], table=table)]
