"""Raw files in, a data folder out."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mentor_pyg.datasets.cache import file_sha256
from mentor_pyg.files import check_replaceable
from mentor_pyg.item_tables import ITEM_COLUMNS
from mentor_pyg.preparation.card import Counts, Facts, write_card
from mentor_pyg.preparation.checks import check_written
from mentor_pyg.preparation.database import count, engine, literal, open_database
from mentor_pyg.preparation.features import check_features, feature_file_name, write_features
from mentor_pyg.preparation.filters import (
    FilterStep,
    keep_complete,
    keep_core,
    keep_first,
    keep_rated,
    measure,
)
from mentor_pyg.preparation.folder import (
    folder_names,
    held,
    open_partial,
    put_in_place,
)
from mentor_pyg.preparation.ids import number_kept, write_id_mappings
from mentor_pyg.preparation.items import TEXTS, read_items
from mentor_pyg.preparation.reading import (
    KNOWN_COLUMNS,
    Malformed,
    check_time_format,
    read_interactions,
    refuse_malformed,
)
from mentor_pyg.preparation.settings import Preparation
from mentor_pyg.preparation.sources import Source, choose_columns, find_files, open_source
from mentor_pyg.preparation.splits import split_interactions
from mentor_pyg.preparation.stages import Stages

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["Prepared", "prepare"]

_logger = logging.getLogger(__name__)

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What was made.

    Args:
        folder: The folder.
        steps: What was left after each step.
        malformed: The lines that were left out.
    """

    folder: Path
    steps: Sequence[FilterStep]
    malformed: Sequence[Malformed]


def prepare(
    files: str | Path | Sequence[str | Path],
    out: str | Path,
    settings: Preparation | None = None,
    *,
    force: bool = False,
    say: Say = _logger.info,
) -> Prepared:
    """Make a data folder for :class:`~mentor_pyg.datasets.InteractionFolder` of raw files.

    The folder is whole or not there: it is made beside ``out``, under a name that begins with a
    dot, and renamed in the end. What an interrupted run had done by then is kept there, and a run
    of the same files and settings goes on from it; any other clears it away.

    Args:
        files: Paths or globs of CSV, TSV, JSON Lines (each also ``.gz`` or ``.zst``) or Parquet, or
            one of them.
        out: The folder to make; a link is followed.
        settings: How.
        force: Replace the folder if it exists and holds nothing else than this makes.
        say: What is told of every step.

    Raises:
        MissingPackageError: If DuckDB is not installed; it comes with the extra ``prepare``.
        OSError: If a file is not there, ``out`` is, another process is making it, or the disk is
            full.
        ValueError: If a file or a setting is wrong, or nothing is left; the message says which.
    """
    engine()  # Fail before anything else.
    settings = settings or Preparation()
    files = [files] if isinstance(files, str | Path) else files
    if not files:
        raise ValueError("'files' needs at least one path or pattern")
    target = Path(out).expanduser().resolve()
    name = settings.name or target.name
    paths = find_files(files)
    for modality, path in settings.features.items():
        check_features(modality, Path(path), settings.items is not None)
    check_replaceable(target, folder_names(name, settings.features), force)
    unfinished = target.with_name(f".{target.name}.partial")
    extra = find_files([settings.items]) if settings.items else []
    extra += [Path(path) for path in settings.features.values()]
    with held(target):
        open_partial(unfinished, settings.identity([*paths, *extra]))
        try:
            with open_database(unfinished / "work", settings.memory, settings.threads) as database:
                facts = _make(database, paths, extra, unfinished, name, settings, say)
            write_card(facts, settings.command(files, out), unfinished)
            shutil.rmtree(unfinished / "work")
            put_in_place(unfinished, target)
        except (KeyboardInterrupt, SystemExit):
            say(f"what is done is kept in {unfinished}; the same command goes on from there")
            raise
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    return Prepared(folder=target, steps=facts.steps, malformed=facts.malformed)


def _make(
    connection: DuckDBPyConnection,
    paths: Sequence[Path],
    extra: Sequence[Path],
    folder: Path,
    name: str,
    settings: Preparation,
    say: Say,
) -> Facts:
    """Write all files but the card."""
    stages = Stages(connection, say)
    asked = list(filter(None, (settings.user, settings.item, settings.rating, settings.time)))
    sources = [open_source(connection, path, settings.columns, asked) for path in paths]
    malformed, columns = _read(stages, sources, settings)
    described, again = _read_items(stages, settings, malformed)
    rows = count(connection, "SELECT count(*) FROM raw")
    refuse_malformed(malformed, settings.max_errors, rows, settings.time_format)
    for line in malformed[:20]:
        say(f"left out: {line}")
    if again:
        say(f"left out: {again:,} rows of {settings.items}, whose items have a row before")
    if quoted := stages.run("lines within quotes", partial(_describe_quoted, connection)):
        say(quoted)
    steps = _filter(stages, settings)
    stages.run("split", lambda: _split(connection, settings))
    say(f"split: {settings.split}")
    left_out = _write_interactions(connection, folder / f"{name}.inter")
    write_id_mappings(connection, folder)
    _write_entities(connection, folder)
    shares, unusable = _write_features(connection, folder, settings, described)
    for what, number in shares.items():
        say(f"{what}: of {number:,} items")
    for what, number in unusable.items():
        say(f"{what}: {number:,} rows are not finite, and missing")
    say("files written")
    checks = check_written(connection, folder / f"{name}.inter", settings.split)
    say("files checked")
    return Facts(
        name=name,
        settings=settings,
        columns=columns,
        steps=steps,
        malformed=malformed,
        quoted=quoted,
        left_out=left_out,
        shares=shares,
        again=again,
        unusable=unusable,
        checks=checks,
        checksums={path: file_sha256(path) for path in [*paths, *extra]},
        counts=Counts.of(connection),
    )


def _read(
    stages: Stages, sources: Sequence[Source], settings: Preparation
) -> tuple[list[Malformed], dict[Path, dict[str, str]]]:
    """Read all files, and return their malformed lines, and of every file the columns."""
    connection = stages.connection
    asked = {role: getattr(settings, role) for role in KNOWN_COLUMNS}
    required = ["user", "item"]
    if settings.min_rating is not None or settings.decimal_comma:
        required.append("rating")
    if settings.time_format is not None:
        required.append("time")
        check_time_format(connection, settings.time_format)
    connection.execute(
        "CREATE TABLE IF NOT EXISTS raw "
        "(user VARCHAR, item VARCHAR, rating DOUBLE, time DOUBLE, breaks INTEGER)"
    )
    malformed: list[Malformed] = []
    chosen: dict[Path, dict[str, str]] = {}

    def read(source: Source, columns: dict[str, str]) -> list[Any]:
        found = read_interactions(
            connection, source, columns, settings.time_format, settings.decimal_comma
        )
        return [[one.line, one.reason] for one in found]

    for source in sources:
        columns = choose_columns(source, asked, KNOWN_COLUMNS, required)
        if columns not in list(chosen.values())[-1:]:
            roles = (
                f"{role} {name}{'' if asked[role] else ' (guessed)'}"
                for role, name in columns.items()
            )
            stages.say(f"columns of {source.path}: {', '.join(roles)}")
        chosen[source.path] = columns
        found = stages.run(f"reading {source.path}", partial(read, source, columns))
        malformed += [Malformed(source.path, *one) for one in found]
    return malformed, chosen


def _describe_quoted(connection: DuckDBPyConnection) -> str:
    """Return how many lines are within quotes, or nothing if there are none."""
    row = connection.execute(
        "SELECT count(*), sum(breaks), max(breaks), arg_max(user, breaks), arg_max(item, breaks) "
        "FROM raw WHERE breaks > 0"
    ).fetchone()
    assert row is not None
    rows, breaks, most, user, item = row
    if not rows:
        return ""
    return (
        f"{rows:,} rows have quoted text of several lines, {breaks:,} lines more than rows; most, "
        f"{most:,}, has that of user {user} and item {item}. If no text is that long, a stray "
        f"quote takes in rows: correct it, or let the file's name end in .inter if quotes mean "
        f"nothing in it"
    )


def _read_items(
    stages: Stages, settings: Preparation, malformed: list[Malformed]
) -> tuple[int, int]:
    """Read the file of items, if there is one.

    Returns:
        The number of its rows, and how many of them are of an item that has one before.
    """
    connection = stages.connection
    if settings.items is None:
        texts = ", ".join(f"NULL::VARCHAR AS {text}" for text in TEXTS)
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS described AS SELECT 0 AS row, '' AS id, {texts} LIMIT 0"
        )
        return 0, 0
    path, *others = find_files([settings.items])
    if others:
        raise ValueError(
            f"'items' needs one file (got {path} and {others[0]} by {settings.items}); put the "
            f"rows of all into one"
        )
    source = open_source(connection, path)
    asked = {"item": settings.item if settings.item in source.columns else None}
    columns = choose_columns(source, asked, ITEM_COLUMNS, ["item"])
    roles = ", ".join(f"{role} {name}" for role, name in columns.items())
    stages.say(f"columns of {path}: {roles}")

    def read() -> list[Any]:
        found, rows, again = read_items(connection, source, columns)
        return [[[one.line, one.reason] for one in found], rows, again]

    lines, rows, again = stages.run(f"items of {path}", read)
    found = [Malformed(path, *one) for one in lines]
    if (
        found
        and source.kind == "csv"
        and any(p.endswith(".npy") for p in settings.features.values())
    ):
        raise ValueError(
            f"{found[0]}; features go by the rows of this file, so correct its malformed lines"
        )
    malformed += found
    return int(rows), int(again)


def _filter(stages: Stages, settings: Preparation) -> list[FilterStep]:
    connection, say = stages.connection, stages.say

    def read() -> list[Any]:
        return ["read", count(connection, "SELECT count(*) FROM raw"), None, None]

    steps = [FilterStep(*stages.run("counting", read))]
    say(f"read: {steps[0].interactions:,} rows")

    def step(name: str, keep: Callable[..., int | None], *args: Any) -> None:
        def work() -> list[Any]:
            rounds = keep(connection, *args)
            many = "round" if rounds == 1 else "rounds"
            label = name if rounds is None else f"{name}, in {rounds} {many}"
            return list(astuple(measure(connection, label)))

        found = FilterStep(*stages.run(name, work))
        steps.append(found)
        say(
            f"{found.name}: {found.interactions:,} interactions, {found.users:,} users, "
            f"{found.items:,} items"
        )
        if not found.interactions:
            raise ValueError(
                f"no interactions are left after the step {found.name!r}; filter less, or check "
                f"which columns were taken"
            )

    step("with user and item", keep_complete)
    if settings.min_rating is not None:
        step(f"rated {settings.min_rating:g} or better", keep_rated, settings.min_rating)
    step("first of each user and item", keep_first)
    if settings.core > 1:
        step(f"{settings.core}-core", keep_core, settings.core)
    return steps


def _split(connection: DuckDBPyConnection, settings: Preparation) -> None:
    number_kept(connection)
    split_interactions(
        connection, settings.split, settings.val_ratio, settings.test_ratio, settings.seed
    )


def _write_interactions(connection: DuckDBPyConnection, path: Path) -> list[str]:
    """Write the ``.inter`` file, and return the columns that some rows have no value of."""
    have = connection.execute(
        "SELECT count(*), count(rating), count(time) FROM labelled"
    ).fetchone()
    assert have is not None
    columns = {"rating": have[1], "time": have[2]}
    kept = [name for name, number in columns.items() if number == have[0]]
    select = "".join(f"{one}{' AS timestamp' if one == 'time' else ''}, " for one in kept)
    connection.execute(
        f"COPY (SELECT user AS userID, item AS itemID, {select}label AS x_label FROM labelled "
        f"ORDER BY user, item) TO {literal(str(path))} (FORMAT csv, DELIMITER '\t', HEADER)"
    )
    return [name for name, number in columns.items() if 0 < number < have[0]]


def _write_entities(connection: DuckDBPyConnection, folder: Path) -> None:
    """Write ``users.parquet`` and ``items.parquet``, in the order of their numbers."""
    queries = {
        "users": "SELECT number AS userID, id FROM users ORDER BY number",
        "items": (
            f"SELECT number AS itemID, id, {', '.join(TEXTS)} FROM items "
            f"LEFT JOIN described USING (id) ORDER BY number"
        ),
    }
    for name, query in queries.items():
        path = literal(str(folder / f"{name}.parquet"))
        connection.execute(f"COPY ({query}) TO {path} (FORMAT parquet, COMPRESSION zstd)")


def _write_features(
    connection: DuckDBPyConnection, folder: Path, settings: Preparation, num_rows: int
) -> tuple[dict[str, int], dict[str, int]]:
    """Write the features.

    Returns:
        How many items have each modality, texts included, and how many rows are not finite.
    """
    has = ", ".join(f"{text} IS NOT NULL" for text in TEXTS)
    table = connection.execute(
        f"SELECT items.id, coalesce(row, -1) AS row, {has} "
        f"FROM items LEFT JOIN described USING (id) ORDER BY number"
    ).fetchnumpy()
    columns = list(table.values())
    shares = {text: int(has.sum()) for text, has in zip(TEXTS, columns[2:], strict=True)}
    if settings.items is None:
        shares = {}
    unusable = {}
    for modality, path in settings.features.items():
        name = feature_file_name(modality)
        shares[name], bad = write_features(
            Path(path), folder / name, list(columns[0]), columns[1].astype("int64"), num_rows
        )
        if bad:
            unusable[name] = bad
    return shares, unusable
