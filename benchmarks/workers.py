"""The processes that cases are measured in, apart from each other."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from cases import Case, Setting
from measure import Row, measure

__all__ = ["measure_all"]

_PATIENCE = {"cpu": 1800, "cuda": 180}
"""Seconds after which a case is taken to hang."""


def measure_all(cases: Sequence[Case], setting: Setting) -> Iterator[Row]:
    """Measure cases one after another.

    On the CPU each has a process of its own, forked from a server that has done the imports and
    nothing else, so that none finds memory or caches of another's. With CUDA a process cannot be
    forked, and memory is what torch's allocator says: there one process measures until a case
    fails, which may have spoilt its context.

    Yields:
        The row of every case, in their order.
    """
    worker: _Worker | None = None
    try:
        for case in cases:
            if case.cannot_run is not None:
                yield measure(case, setting)
                continue
            worker = worker or _Worker(setting)
            row = worker.measure(case)
            if setting.device == "cpu" or row["status"] in ("wrong", "failed"):
                worker.stop()
                worker = None
            yield row
    finally:
        if worker is not None:
            worker.stop()


class _Worker:
    """A process that measures the cases it is sent."""

    def __init__(self, setting: Setting) -> None:
        context: Any = multiprocessing.get_context(
            "forkserver" if setting.device == "cpu" else "spawn"
        )
        if setting.device == "cpu":
            context.set_forkserver_preload(["mentor_pyg"])
        self.patience = _PATIENCE[setting.device]
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, setting))
        self.process.start()
        theirs.close()

    def measure(self, case: Case) -> Row:
        names = {"suite": case.suite, "case": case.name, "backend": case.backend}
        try:
            self.pipe.send(case)
            if not self.pipe.poll(self.patience):
                reason = f"stopped after {self.patience} s"
                return {**names, "status": "failed", "reason": reason}
            row: Row = self.pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self.process.join()
            code = self.process.exitcode
            reason = f"the process ended with {code}; -9 is for want of memory"
            return {**names, "status": "failed", "reason": reason}
        return row

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()


def _serve(pipe: Any, setting: Setting) -> None:
    import mentor_pyg  # noqa: F401 Before the case is there, which is timed from then on.

    warnings.filterwarnings("ignore", message="Sparse")  # Beta notices of torch's.
    while True:
        pipe.send(measure(pipe.recv(), setting))
        if setting.device == "cuda":
            torch.cuda.empty_cache()
