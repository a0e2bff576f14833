"""The service under load: how long answers take, alone and while the export is replaced ten times.

Run it on two exports of the same users, which take turns:

    python benchmarks/serving.py runs/export-a runs/export-b --out benchmarks/results/serving

The service is a process with one worker. The clients are in this process, one request each at a
time over a connection that stays open, and compare every answer with the expected list of the
version that it names.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np
from hardware import describe

from mentor_pyg.export import read_export
from mentor_pyg.serving.catalog import Catalog

__all__ = ["main"]

_USERS = 500
_K = 20
_RELOADS = 10
_Expected = dict[str, dict[str, list[str]]]


@dataclass
class _Load:
    """What clients saw: seconds per answer, and answers that were wrong."""

    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    versions: set[str] = field(default_factory=set)
    reloads: list[float] = field(default_factory=list)
    lasted: float = 0
    cpu: float = 0

    def row(self, name: str) -> str:
        """Return a row of the report."""
        p50, p99 = np.percentile(self.seconds, (50, 99)) * 1e3
        rate, cpu = len(self.seconds) / self.lasted, self.cpu / len(self.seconds) * 1e3
        most = f"{max(self.reloads) * 1e3:,.0f} ms" if self.reloads else ""
        return (
            f"| {name} | {len(self.seconds):,} | {rate:,.0f} | {p50:.1f} ms | {p99:.1f} ms "
            f"| {max(self.seconds) * 1e3:,.0f} ms | {cpu:.2f} ms | {self.wrong} "
            f"| {len(self.versions)} | {most} |"
        )


def main() -> None:
    """Measure, and write a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("exports", nargs=2, type=Path, metavar="EXPORT")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20, help="of each of the two loads")
    parser.add_argument("--out", type=Path, help="the Markdown file, without .md")
    given = parser.parse_args()
    others = os.getloadavg()[0]
    catalogs = [Catalog(read_export(path)) for path in given.exports]
    users = catalogs[0].export.user_id[:_USERS]
    expected = {
        one.version: {user: [row["id"] for row in one.for_user(user, _K)] for user in users}
        for one in catalogs
    }
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "export"
        link.symlink_to(given.exports[0].absolute())
        process, port = _start(link)
        try:
            url = f"http://127.0.0.1:{port}"
            alone, beside = asyncio.run(_measure(url, process.pid, expected, link, given))
        finally:
            process.terminate()
            process.wait()
    report = _report(catalogs, given, others, alone, beside)
    print(report)
    if given.out:
        given.out.with_suffix(".md").write_text(report)
    sys.exit(1 if alone.wrong or beside.wrong else 0)


def _start(link: Path) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "mentor_pyg", "serve", str(link), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r":(\d+)$", process.stdout.readline().strip())
    assert found, "the service did not start"
    return process, int(found[1])


async def _measure(
    url: str, pid: int, expected: _Expected, link: Path, given: argparse.Namespace
) -> tuple[_Load, _Load]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, connector=connector) as session:
        await _load(session, pid, expected, given.clients, 2)  # first calls
        alone = await _load(session, pid, expected, given.clients, given.seconds)
        beside = await _load(
            session, pid, expected, given.clients, given.seconds, (link, given.exports)
        )
    return alone, beside


async def _load(
    session: aiohttp.ClientSession,
    pid: int,
    expected: _Expected,
    clients: int,
    seconds: float,
    replace: tuple[Path, list[Path]] | None = None,
) -> _Load:
    load, began, cpu = _Load(), time.perf_counter(), _cpu(pid)
    end = began + seconds
    tasks = [_client(session, expected, end, load, n) for n in range(clients)]
    if replace is not None:
        tasks.append(_reloads(session, end, load, *replace))
    await asyncio.gather(*tasks)
    load.lasted, load.cpu = time.perf_counter() - began, _cpu(pid) - cpu
    return load


def _cpu(pid: int) -> float:
    """Return the seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _client(
    session: aiohttp.ClientSession, expected: _Expected, end: float, load: _Load, seed: int
) -> None:
    draw, users = random.Random(seed), list(next(iter(expected.values())))
    while (began := time.perf_counter()) < end:
        user = draw.choice(users)
        async with session.get("/recommend", params={"user": user, "k": str(_K)}) as response:
            answer = await response.json()
        load.seconds.append(time.perf_counter() - began)
        load.versions.add(answer["version"])
        found = [row["id"] for row in answer["results"]]
        load.wrong += found != expected[answer["version"]][user]


async def _reloads(
    session: aiohttp.ClientSession, end: float, load: _Load, link: Path, exports: list[Path]
) -> None:
    pause = (end - time.perf_counter()) / (_RELOADS + 1)
    for turn in range(_RELOADS):
        await asyncio.sleep(pause)
        new = link.with_name("new")
        new.symlink_to(exports[(turn + 1) % 2].absolute())
        os.replace(new, link)
        began = time.perf_counter()
        async with session.post("/reload") as response:
            load.wrong += response.status != 200
        load.reloads.append(time.perf_counter() - began)


def _report(
    catalogs: list[Catalog], given: argparse.Namespace, others: float, alone: _Load, beside: _Load
) -> str:
    about = describe("cpu", 1)
    names = " and ".join(one.export.description["model"]["name"] for one in catalogs)
    tables = catalogs[0].export.tables
    machine = ", ".join(
        f"{key} {about[key]}" for key in ("cpu", "cores", "torch", "python", "date")
    )
    return "\n".join(
        [
            "# The service under load",
            "",
            f"`GET /recommend?user=...&k={_K}` of exports of {names}, {tables.num_users:,} users "
            f"and {tables.num_items:,} items. One worker, {given.clients} clients on the same "
            f"machine, {given.seconds:g} s each. Wrong answers are those that are not the list of "
            f"the version that they name. CPU is the service's own time for an answer, reloads "
            f"included.",
            "",
            f"{machine}. Load average before: {others:.1f}.",
            "",
            "| load | answers | a second | p50 | p99 | longest | CPU | wrong | versions | reload |",
            "|---|---|---|---|---|---|---|---|---|---|",
            alone.row("alone"),
            beside.row(f"{_RELOADS} reloads"),
            "",
        ]
    )


if __name__ == "__main__":
    main()
