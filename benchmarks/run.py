"""Measure time and memory on this machine.

    python benchmarks/run.py --suites propagate infonce --threads 2 --out benchmarks/results/cpu

Every case runs in a process of its own: first once for its peak memory over what it was prepared
with, then against a reference, and only where that agrees repeatedly for its time. Prints the
table and writes <out>.json, <out>.md, <out>-roofline.png and <out>-scaling.png. Exits with 1
where a result was wrong. benchmarks/README.md says what is measured.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from cases import Setting
from dataset import make_setting
from hardware import describe
from measure import Row
from report import add_shares, line, make_report, peaks_of, write
from suites import SUITES
from workers import measure_all

from mentor_pyg.datasets import SYNTHETIC_SIZES
from mentor_pyg.dependencies import MissingPackageError, require

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, write; return the exit status."""
    options = _parse(args)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        setting = make_setting(
            options.data,
            options.size,
            Path(scratch),
            device=options.device,
            threads=options.threads,
            repeats=options.repeats,
            longest=options.longest,
            epoch_steps=options.epoch_steps,
            profile=options.profile,
        )
        machine: dict[str, object] = {**describe(options.device, options.threads)}
        dataset = {
            "dataset": setting.name,
            "users": setting.num_users,
            "items": setting.num_items,
            "channels": ", ".join(f"{m} {width}" for m, width in setting.channels.items()),
        }
        for rows in _measure(options.suites, setting):
            if options.out is not None:  # After every row, so that no interruption takes it away.
                machine["minutes"] = round((time.perf_counter() - start) / 60, 1)
                report = make_report(machine, dataset, rows)
                write(report, options.out)
    if options.out is not None and options.figures:
        from figures import draw

        draw(report, options.out)
    spoilt = [row for row in rows if row["status"] in ("wrong", "failed")]
    for row in spoilt:
        print(f"{row['status']}: {row['suite']}, {row['case']}, {row['backend']}", file=sys.stderr)
    return 1 if spoilt else 0


def _measure(suites: Sequence[str], setting: Setting) -> Iterator[list[Row]]:
    """Yield all rows so far, after each."""
    # The peaks are measured in any case: everything else is a share of them.
    cases = [
        case for name in SUITES if name in {"machine", *suites} for case in SUITES[name](setting)
    ]
    rows: list[Row] = []
    for row in measure_all(cases, setting):
        rows.append(row)
        print(line(add_shares(row, peaks_of(rows))), flush=True)
        yield rows


def _parse(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suites", nargs="+", choices=SUITES, default=list(SUITES))
    parser.add_argument("--data", type=Path, help="a folder; a synthetic dataset without")
    parser.add_argument("--size", choices=SYNTHETIC_SIZES, default="baby", help="of the synthetic")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=_threads(), help="of the CPU")
    parser.add_argument("--repeats", type=int, default=9, help="the most samples of a case")
    parser.add_argument(
        "--longest", type=float, default=40, help="seconds that a call of InfoNCE may take"
    )
    parser.add_argument(
        "--epoch-steps",
        type=int,
        help="steps to estimate an epoch from, 0 for all; 5 on the CPU, all on CUDA",
    )
    parser.add_argument("--profile", type=Path, help="a folder for traces of the training steps")
    parser.add_argument("--out", type=Path, help="where to write, without suffix")
    parser.add_argument("--no-figures", dest="figures", action="store_false")
    options = parser.parse_args(args)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no CUDA device here; use --device cpu")
    if options.epoch_steps is None:
        options.epoch_steps = 5 if options.device == "cpu" else 0
    if options.profile is not None and "step" not in options.suites:
        parser.error("--profile traces the training steps; add 'step' to --suites")
    for name, least in (("threads", 1), ("repeats", 1), ("epoch_steps", 0)):
        if getattr(options, name) < least:
            flag = name.replace("_", "-")
            parser.error(f"--{flag} needs to be at least {least} (got {getattr(options, name)})")
    if options.out is not None and options.figures:
        try:
            require("matplotlib", extra="bench", purpose="Drawing figures")
        except MissingPackageError as error:
            print(f"without figures: {error}", file=sys.stderr)
            options.figures = False
    return options


def _threads() -> int:
    """Return as many threads as torch would take, and no more than there are cores for."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(torch.get_num_threads(), available or 1)


if __name__ == "__main__":
    sys.exit(main())
