"""Time and memory of one case, in the process that calls."""

from __future__ import annotations

import math
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from cases import CannotRunError, Case, Setting, Work

from mentor_pyg.memory import PeakMemory

__all__ = ["Row", "measure", "refuse_beyond_memory", "seconds_of"]

Row = dict[str, Any]
"""A line of the report; ``status`` is ``"ok"``, ``"cannot run"``, ``"wrong"`` or ``"failed"``."""

_MIN_SAMPLES = 3
_SAMPLE_SECONDS = 0.002
"""Shorter calls are timed several at a time."""
_MAX_CALLS = 200
_LONG = 10.0
"""On the CPU, where nothing is compiled, a first call of so many seconds is the only one."""


def measure(case: Case, setting: Setting) -> Row:
    """Return a case's row of the report.

    Memory comes first, since a check would leave memory behind that the allocator hands out
    again unseen; then the check; and only what passes is timed.
    """
    row: Row = {"suite": case.suite, "case": case.name, "backend": case.backend}
    if case.cannot_run is not None:
        return {**row, "status": "cannot run", "reason": case.cannot_run}
    torch.set_num_threads(setting.threads)
    torch.manual_seed(0)
    try:
        work = case.prepare(setting)
        measured = _measured(work, setting)
    except CannotRunError as error:
        return {**row, "status": "cannot run", "reason": str(error)}
    except torch.OutOfMemoryError as error:
        reason = str(error).split(". ")[0]
        return {**row, "status": "cannot run", "reason": f"not enough memory: {reason}"}
    except AssertionError as error:
        return {**row, "status": "wrong", "reason": _one_line(error)}
    except Exception as error:  # Whatever it is belongs into the report, beside the other rows.
        return {**row, "status": "failed", "reason": f"{type(error).__name__}: {_one_line(error)}"}
    if setting.profile is not None and case.suite == "step":
        measured["trace"] = _trace(work, setting, _slug(f"{case.name} {case.backend}"))
    return {**row, "status": "ok", **measured}


def seconds_of(function: Callable[[], object], device: str, calls: int = 1) -> float:
    """Return the seconds of a call, averaged over ``calls`` back to back."""
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(calls):
            function()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3 / calls
    begin = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - begin) / calls


def refuse_beyond_memory(needed: int, device: str) -> None:
    """Raise where a case would need more bytes than are free."""
    if device == "cuda":
        free = torch.cuda.mem_get_info()[0]
    else:
        info = Path("/proc/meminfo")
        lines = info.read_text().splitlines() if info.exists() else []
        found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
        free = found[0] if found else needed
    if needed > free:
        raise CannotRunError(
            f"needs about {needed / 2**30:.0f} GiB, of which {free / 2**30:.0f} GiB are free"
        )


def _measured(work: Work, setting: Setting) -> Row:
    memory, first, result = _first_call(work.run, setting.device)
    checked = work.check(result)
    del result
    calls, times = _samples(work.run, setting, first)
    times = [work.scale * seconds for seconds in times]
    median = statistics.median(times)
    return {
        "median_ms": median * 1e3,
        "min_ms": min(times) * 1e3,
        "max_ms": max(times) * 1e3,
        "samples": len(times),
        "calls_per_sample": calls,
        **memory,
        "gflop": work.gflop,
        "gbyte": work.gbyte,
        "gflop_per_s": work.gflop / median if work.gflop else None,
        "gbyte_per_s": work.gbyte / median if work.gbyte else None,
        "precision": work.precision,
        "checked": checked,
        "facts": dict(work.facts),
    }


def _first_call(function: Callable[[], object], device: str) -> tuple[Row, float, object]:
    """Return what is held before the first call and what it adds in MiB, its seconds and result."""
    results: list[object] = []

    def call() -> None:
        results.append(function())

    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held: float | None = torch.cuda.memory_allocated() / 2**20
        seconds = seconds_of(call, device)
        peak: float | None = torch.cuda.max_memory_allocated() / 2**20
    else:
        memory = PeakMemory()
        held = memory.before
        seconds = seconds_of(call, device)
        peak = memory.read()
    added = None if held is None or peak is None else peak - held
    return {"held_mib": held, "peak_mib": added}, seconds, results[0]


def _samples(
    function: Callable[[], object], setting: Setting, first: float
) -> tuple[int, list[float]]:
    """Return how many calls a sample is made of, and the samples."""
    if first > _LONG and setting.device == "cpu":
        return 1, [first]
    # The first call also sets up what is kept; the second one is like those that follow.
    second = seconds_of(function, setting.device)
    calls = min(_MAX_CALLS, max(1, math.ceil(_SAMPLE_SECONDS / max(second, 1e-9))))
    times = [second] if calls == 1 else []
    spent = sum(times)
    while not times or (
        len(times) < setting.repeats
        and spent < setting.budget * (3 if len(times) < _MIN_SAMPLES else 1)
    ):
        times.append(seconds_of(function, setting.device, calls))
        spent += calls * times[-1]
    return calls, times


def _trace(work: Work, setting: Setting, name: str) -> str:
    """Write a trace of one call for chrome://tracing or Perfetto, and its table beside it."""
    from torch.profiler import ProfilerActivity, profile

    assert setting.profile is not None
    activities = [ProfilerActivity.CPU]
    if setting.device == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities, record_shapes=True) as profiler:
        work.run()
        if setting.device == "cuda":
            torch.cuda.synchronize()
    setting.profile.mkdir(parents=True, exist_ok=True)
    path = setting.profile / f"{name}.json"
    profiler.export_chrome_trace(str(path))
    order = "self_cuda_time_total" if setting.device == "cuda" else "self_cpu_time_total"
    table = profiler.key_averages().table(sort_by=order, row_limit=40)
    path.with_suffix(".txt").write_text(table + "\n")
    return path.name


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
