"""Measure time and memory on this machine.

    python benchmarks/run.py --suites propagate infonce --threads 2 --out benchmarks/results/cpu

Every case runs in a process of its own: first once for its peak memory over what it was prepared
with, then repeatedly for its time. Writes <out>.json and <out>.md, and prints the table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from cases import SUITES, cases

__all__ = ["main"]


def main() -> None:
    """Parse the command line, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suites", nargs="+", choices=SUITES, default=list(SUITES))
    parser.add_argument("--data", type=Path, help="a folder; synthetic of Baby's size without")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, help="where to write, without suffix")
    args = parser.parse_args()

    results = []
    for index, case in enumerate(cases(args.data)):
        if case.suite not in args.suites:
            continue
        result = _in_own_process(args.data, index, args.threads, args.repeats)
        results.append({"suite": case.suite, "case": case.name, **result})
        print(_row(results[-1]), flush=True)
    report = {"machine": _machine(args.threads), "results": results}
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
        args.out.with_suffix(".md").write_text(_markdown(report))


def _in_own_process(data: Path | None, index: int, threads: int, repeats: int) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(send, data, index, threads, repeats))
    process.start()
    send.close()
    try:
        result: dict[str, Any] = receive.recv()
    except EOFError:
        result = {"error": "the process died; out of memory?"}
    process.join()
    return result


def _measure(send: Any, data: Path | None, index: int, threads: int, repeats: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    case = cases(data)[index]
    try:
        function = case.prepare()
        before = _reset_peak()
        function()
        peak = _status_mib("VmHWM") - before
        times: list[float] = []
        deadline = time.perf_counter() + 20
        while len(times) < repeats and (len(times) < 3 or time.perf_counter() < deadline):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    except (RuntimeError, AssertionError) as error:
        send.send({"error": str(error)})
        return
    median = statistics.median(times)
    send.send(
        {
            "median_ms": median * 1e3,
            "min_ms": min(times) * 1e3,
            "max_ms": max(times) * 1e3,
            "repeats": len(times),
            "peak_mib": peak,
            "gflop_per_s": case.gflop / median if case.gflop else None,
        }
    )


def _reset_peak() -> float:
    """Make the peak of resident memory start anew; return what is resident now, in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_mib("VmRSS")


def _status_mib(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))


def _machine(threads: int) -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            s for s in info.read_text().splitlines() if s.startswith(("model name", "model\t"))
        ]
        cpu = ", model ".join(sorted({s.split(":")[1].strip() for s in names}, key=len)[::-1])
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return {
        "cpu": cpu,
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_geometric": version("torch-geometric"),
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _row(result: dict[str, Any]) -> str:
    head = f"| {result['suite']} | {result['case']} |"
    if "error" in result:
        return f"{head} {result['error']} | | | |"
    rate = f"{result['gflop_per_s']:.0f}" if result["gflop_per_s"] else ""
    spread = f"{result['min_ms']:.2f} to {result['max_ms']:.2f}"
    return f"{head} {result['median_ms']:.2f} | {spread} | {result['peak_mib']:.0f} | {rate} |"


def _markdown(report: dict[str, Any]) -> str:
    machine = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    head = [
        machine,
        "",
        "| suite | case | median, ms | spread, ms | peak over inputs, MiB | GFLOP/s |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(_row(result) for result in report["results"])]) + "\n"


if __name__ == "__main__":
    main()
