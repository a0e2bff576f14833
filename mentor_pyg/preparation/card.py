"""The data card: what a folder holds, what was dropped on the way, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mentor_pyg.page import Section, Table, as_html, as_markdown
from mentor_pyg.preparation.checks import Check
from mentor_pyg.preparation.filters import FilterStep
from mentor_pyg.preparation.reading import Malformed
from mentor_pyg.preparation.settings import Preparation
from mentor_pyg.preparation.splits import SPLITS
from mentor_pyg.version import __version__

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["Counts", "Facts", "write_card"]

_LISTED = 100  # malformed lines
_SPLIT_NAMES = ("train", "validation", "test")  # by label


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What the split interactions amount to.

    Args:
        splits: Per split its interactions, users and items, and its first and last day.
        without_train: Users and items without train interactions, by side.
        degrees: Per side how many have 1, 2 to 3, 4 to 7, ... interactions, by the power of two.
        quantiles: Per side the least, median, mean and greatest number of interactions.
    """

    splits: Sequence[tuple[str, int, int, int, str, str]]
    without_train: Mapping[str, int]
    degrees: Mapping[str, Mapping[int, int]]
    quantiles: Mapping[str, tuple[int, float, float, int]]

    @classmethod
    def of(cls, connection: DuckDBPyConnection) -> Self:
        """Count what is in the table ``labelled``."""
        first, last = (
            f"coalesce(strftime(make_timestamp(({end}(time) * 1e6)::BIGINT), '%Y-%m-%d'), '')"
            for end in ("min", "max")
        )
        rows = connection.execute(
            f"SELECT label, count(*), count(DISTINCT user), count(DISTINCT item), {first}, {last} "
            f"FROM labelled GROUP BY label ORDER BY label"
        ).fetchall()
        without_train, degrees, quantiles = {}, {}, {}
        for side in ("user", "item"):
            counted = (
                f"(SELECT {side}, count(*) AS n, count(*) FILTER (label = 0) AS trained "
                f"FROM labelled GROUP BY {side})"
            )
            row = connection.execute(
                f"SELECT min(n), median(n), avg(n), max(n), count(*) FILTER (trained = 0) "
                f"FROM {counted}"
            ).fetchone()
            assert row is not None
            quantiles[side], without_train[side] = row[:4], row[4]
            powers = connection.execute(
                f"SELECT length(bin(n)) - 1 AS power, count(*) FROM {counted} GROUP BY power"
            ).fetchall()
            degrees[side] = dict(powers)
        return cls(
            splits=[(_SPLIT_NAMES[row[0]], *row[1:]) for row in rows],
            without_train=without_train,
            degrees=degrees,
            quantiles=quantiles,
        )


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a card says.

    Args:
        name: The name of the dataset.
        settings: How it was made.
        columns: Per file of interactions the column of every role.
        steps: What was left after each step.
        malformed: The lines that were left out.
        quoted: What is said of lines within quotes, if there are any.
        left_out: The columns of which some interactions have no value.
        shares: How many items have each modality.
        again: How many rows of the file of items are of an item that has one before.
        unusable: How many rows of a feature file are not finite, if any.
        checks: What was checked.
        checksums: The SHA-256 checksum of every source.
        counts: What is in the splits.
    """

    name: str
    settings: Preparation
    columns: Mapping[Path, Mapping[str, str]]
    steps: Sequence[FilterStep]
    malformed: Sequence[Malformed]
    quoted: str
    left_out: Sequence[str]
    shares: Mapping[str, int]
    again: int
    unusable: Mapping[str, int]
    checks: Sequence[Check]
    checksums: Mapping[Path, str]
    counts: Counts


def write_card(facts: Facts, command: str, folder: Path) -> None:
    """Write ``card.md`` and ``card.html``."""
    sections = _sections(facts, command)
    (folder / "card.md").write_text(as_markdown(sections, folder), encoding="utf-8")
    (folder / "card.html").write_text(as_html(sections), encoding="utf-8")


def _sections(facts: Facts, command: str) -> list[Section]:
    last = facts.steps[-1]
    users, items = last.users or 0, last.items or 0
    return [
        Section(
            title=facts.name,
            level=1,
            text=[
                f"{last.interactions:,} interactions of {users:,} users and {items:,} items, "
                f"density {last.interactions / (users * items):.4%}. Made by mentor_pyg "
                f"{__version__} with the command below."
            ],
            code=command,
        ),
        _steps(facts),
        _malformed(facts),
        _splits(facts),
        Section(
            title="Checks",
            text=["Read from the written file again; 0 is good."],
            table=Table(
                columns=("check", "broken"),
                rows=[(check.promise, f"{check.broken:,}") for check in facts.checks],
            ),
        ),
        *(_degrees(facts, side) for side in ("user", "item")),
        *_modalities(facts, items),
        _sources(facts),
    ]


def _sources(facts: Facts) -> Section:
    rows = []
    for path, checksum in facts.checksums.items():
        columns = facts.columns.get(path, {})
        rows.append((str(path), ", ".join(f"{r} {c}" for r, c in columns.items()), checksum))
    table = Table(columns=("file", "columns", "SHA-256"), rows=rows, words=frozenset({1, 2}))
    return Section(title="Sources", table=table)


def _steps(facts: Facts) -> Section:
    rows, before = [], facts.steps[0].interactions
    for step in facts.steps:
        counts = ("" if number is None else f"{number:,}" for number in (step.users, step.items))
        rows.append(
            (step.name, f"{step.interactions:,}", *counts, f"{before - step.interactions:,}")
        )
        before = step.interactions
    return Section(
        title="Steps",
        text=["Every step drops what its name excludes."],
        table=Table(columns=("step", "interactions", "users", "items", "dropped"), rows=rows),
    )


def _malformed(facts: Facts) -> Section:
    quoted = [f"{facts.quoted}."] if facts.quoted else []
    if not facts.malformed:
        return Section(title="Malformed lines", text=["None.", *quoted])
    listed = [(f"{m.path}, line {m.line}", m.reason) for m in facts.malformed[:_LISTED]]
    return Section(
        title="Malformed lines",
        text=[f"{len(facts.malformed):,} were left out; at most {_LISTED} are listed.", *quoted],
        table=Table(columns=("line", "reason"), rows=listed, words=frozenset({1})),
    )


def _splits(facts: Facts) -> Section:
    settings = facts.settings
    text = [f"{settings.split}: {SPLITS[settings.split]}."]
    if settings.split in ("random", "cold-items"):
        text.append(f"Drawn with the seed {settings.seed}.")
    if settings.split == "leave-one-out":
        text.append("Users of fewer than 3 interactions are wholly in train.")
    else:
        text.append(f"Shares: validation {settings.val_ratio:g}, test {settings.test_ratio:g}.")
    users, items = facts.counts.without_train["user"], facts.counts.without_train["item"]
    text.append(
        f"{users:,} users have no train interactions: as usual in the field they stay in the "
        f"files, and evaluation leaves them out unless it is told to keep them. {items:,} items "
        f"have none."
    )
    if facts.left_out:
        text.append(
            f"Some interactions have no {' and no '.join(facts.left_out)}, so the .inter file has "
            f"no such column."
        )
    return Section(
        title="Splits",
        text=text,
        table=Table(
            columns=("split", "interactions", "users", "items", "first day", "last day"),
            rows=[
                (name, *(f"{number:,}" for number in numbers), first, last)
                for name, *numbers, first, last in facts.counts.splits
            ],
        ),
    )


def _degrees(facts: Facts, side: str) -> Section:
    least, median, mean, greatest = facts.counts.quantiles[side]
    degrees = facts.counts.degrees[side]
    bins = [
        ("1" if power == 0 else f"{2**power}–{2 ** (power + 1) - 1}", degrees.get(power, 0))
        for power in range(max(degrees) + 1)
    ]
    return Section(
        title=f"Interactions of {'a user' if side == 'user' else 'an item'}",
        text=[f"Least {least:,}, median {median:g}, mean {mean:.2f}, most {greatest:,}."],
        table=Table(
            columns=("interactions", f"{side}s"), rows=[(name, f"{n:,}") for name, n in bins]
        ),
        svg=_bars(bins, f"{side}s by their number of interactions, as in the table"),
    )


def _bars(bins: Sequence[tuple[str, int]], title: str) -> str:
    """Draw how many there are in every bin."""
    most, width, height = max(number for _, number in bins), 72, 120
    bars = [
        f'<rect x="{x * width + 6}" y="{16 + height * (1 - number / most):.1f}" '
        f'width="{width - 12}" height="{height * number / most:.1f}" fill="#4878a8">'
        f"<title>{name}: {number:,}</title></rect>"
        f'<text x="{(x + 0.5) * width}" y="{height + 32}" font-size="10" text-anchor="middle" '
        f'fill="currentColor">{name}</text>'
        for x, (name, number) in enumerate(bins)
    ]
    return (
        f'<svg role="img" aria-label="{title}" width="{len(bins) * width}" height="{height + 40}" '
        f'viewBox="0 0 {len(bins) * width} {height + 40}">{"".join(bars)}</svg>'
    )


def _modalities(facts: Facts, items: int) -> list[Section]:
    if not facts.shares:
        return []
    rows = [(name, f"{number:,}", f"{number / items:.1%}") for name, number in facts.shares.items()]
    text = [
        f"{number:,} rows of {name} are not finite, and missing."
        for name, number in facts.unusable.items()
    ]
    if facts.again:
        path = facts.settings.items
        text += [f"{facts.again:,} rows of {path} are left out: their items have a row before."]
    table = Table(columns=("", "items", "share"), rows=rows)
    return [Section(title="Modalities", text=text, table=table)]
