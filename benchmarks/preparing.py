"""Preparing raw reviews: `mentor_pyg.preparation`, and pandas doing the same.

python benchmarks/preparing.py --rows 10000000 --out benchmarks/results/preparing.md
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import numpy as np
from hardware import describe

from mentor_pyg.preparation import Preparation, prepare

__all__ = ["main"]

CORE = 5

_RECORDS = """
SELECT 1 + floor(5 * sqrt(random_of(i, 1)))::INTEGER AS overall, true AS verified,
    strftime(to_timestamp(seconds), '%m %d, %Y') AS "reviewTime",
    'A' || lpad(upper(to_hex(floor({users} * random_of(i, 2) ^ 1.5)::BIGINT)), 13, '0')
        AS "reviewerID",
    'B' || lpad(upper(to_hex(floor({items} * random_of(i, 3) ^ 3)::BIGINT)), 9, '0') AS asin,
    'Somebody of ' || i % 9973 AS "reviewerName",
    repeat('It does what it says, and it has lasted. ', 1 + (i % 5)::INTEGER) || i AS "reviewText",
    'Good' AS summary, seconds AS "unixReviewTime"
FROM (SELECT i, 1300000000 + floor(200000000 * random_of(i, 4))::BIGINT // 86400 * 86400 AS seconds
    FROM range({rows}) AS t(i))
"""


def write_reviews(path: Path, rows: int) -> None:
    """Write reviews with the fields of Amazon's of 2018, always the same ones."""
    with duckdb.connect(config={"memory_limit": "2GiB"}) as connection:
        connection.execute(
            "CREATE MACRO random_of(i, k) AS hash(i * 8 + k) / 18446744073709551616.0"
        )
        query = _RECORDS.format(rows=rows, users=rows // 5, items=rows // 50)
        connection.execute(f"COPY ({query}) TO '{path}' (FORMAT json)")


def by_prepare(path: Path, out: Path) -> list[tuple[str, float]]:
    """Prepare, and return when each step was done."""
    start, done = time.perf_counter(), []
    prepare(
        [path],
        out,
        Preparation(core=CORE, threads=2, memory="2GiB", name="x"),
        say=lambda line: done.append((line, time.perf_counter() - start)),
    )
    return [*done, ("written", time.perf_counter() - start)]


def by_pandas(path: Path, out: Path) -> list[tuple[str, float]]:
    """Do the same as people do it in pandas, without card, checks, and original ids in order."""
    import pandas as pd

    start, done = time.perf_counter(), []

    def say(line: str) -> None:
        done.append((line, time.perf_counter() - start))

    names = {"reviewerID": "user", "asin": "item", "overall": "rating", "unixReviewTime": "time"}
    with pd.read_json(path, lines=True, chunksize=500_000, dtype=False) as chunks:
        table = pd.concat([chunk[list(names)].rename(columns=names) for chunk in chunks])
    say(f"read: {len(table):,} rows")
    table = table.sort_values("time", kind="stable").drop_duplicates(["user", "item"])
    say(f"first of each user and item: {len(table):,} interactions")
    while True:
        few = table.groupby("user")["item"].transform("size") < CORE
        few |= table.groupby("item")["user"].transform("size") < CORE
        if not few.any():
            break
        table = table[~few]
    say(f"{CORE}-core: {len(table):,} interactions")
    out.mkdir()
    for side in ("user", "item"):
        table[f"{side}ID"], ids = pd.factorize(table[side], sort=True)
        pd.DataFrame({side: ids, f"{side}ID": range(len(ids))}).to_csv(
            out / f"{side[0]}_id_mapping.csv", sep="\t", index=False
        )
    draw = pd.Series(np.random.default_rng(0).random(len(table)), index=table.index)
    place = draw.groupby(table["userID"]).rank()
    size = table.groupby("userID")["itemID"].transform("size")
    share = np.maximum(np.floor(size * 0.1 + 1e-9), size >= 3)
    table["x_label"] = np.select([place <= share, place <= 2 * share], [2, 1], 0)
    say("split: random")
    table = table.rename(columns={"time": "timestamp"}).sort_values(["userID", "itemID"])
    columns = ["userID", "itemID", "rating", "timestamp", "x_label"]
    table[columns].to_csv(out / "x.inter", sep="\t", index=False)
    return [*done, ("written", time.perf_counter() - start)]


Work = Callable[[Path, Path], list[tuple[str, float]]]


def _serve(work: Work, path: Path, out: Path, found: Path) -> None:
    done = work(path, out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found.write_text(json.dumps([done, peak]))


def _measure(work: Work, path: Path, folder: Path) -> tuple[list[tuple[str, float]], float]:
    """Return when each step was done, and the peak of a process of its own, in GiB."""
    found = folder / f"{work.__name__}.json"
    args = (work, path, folder / work.__name__, found)
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=args)
    process.start()
    process.join()
    if not found.exists():
        return [(f"the process ended with {process.exitcode}", 0.0)], 0.0
    done, peak = json.loads(found.read_text())
    return done, peak


def _report(results: dict[str, tuple[list[tuple[str, float]], float]], about: Sequence[str]) -> str:
    lines = [f"- {line}" for line in about]
    for name, (done, peak) in results.items():
        lines += ["", f"## {name}: {done[-1][1]:.1f} s, peak {peak:.2f} GiB", ""]
        lines += ["| done | after, s | took, s |", "|---|---:|---:|"]
        before = 0.0
        for line, at in done:
            lines.append(f"| {line} | {at:.1f} | {at - before:.1f} |")
            before = at
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure both, one after the other, and write a report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/preparing.md"))
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / "reviews.json"
        write_reviews(path, args.rows)
        about = [f"{key}: {value}" for key, value in describe("cpu", 2).items()]
        about += [f"duckdb: {duckdb.__version__}, 2 threads, memory_limit 2 GiB"]
        about += [f"{args.rows:,} reviews, {path.stat().st_size / 1e9:.2f} GB of JSON Lines"]
        about += [f"load average before: {os.getloadavg()[0]:.1f}"]
        about += ["the peak is that of the whole process, its imports included"]
        results = {
            name: _measure(work, path, folder)
            for name, work in (("prepare", by_prepare), ("pandas", by_pandas))
        }
    finally:
        shutil.rmtree(folder)
    text = _report(results, about).replace(f"{folder}/", "")
    args.out.write_text(f"# Preparing raw reviews\n\n{text}")
    print(text)


if __name__ == "__main__":
    main()
