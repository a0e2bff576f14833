"""A process of its own for every case, so that none finds memory or caches of another's."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from cases import Case, Setting
from measure import Row, measure

__all__ = ["measure_all"]


_PATIENCE = 1800
"""Seconds after which a case is taken to hang."""


class _Worker(NamedTuple):
    process: Any
    pipe: Connection


def measure_all(cases: Sequence[Case], setting: Setting) -> Iterator[Row]:
    """Measure cases one after another, each in a fresh process.

    On the CPU the processes are forked from a server that has done the imports, and nothing
    else. A process that is going to use CUDA is not forked but started anew; where there are
    cores to spare, the next ones do their imports while one measures.

    Yields:
        The row of every case, in their order.
    """
    ahead = 0
    if setting.device == "cpu":
        context: Any = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["mentor_pyg"])
    else:
        context = multiprocessing.get_context("spawn")
        ahead = min(4, (os.cpu_count() or 1) // 4)
    needed = sum(case.cannot_run is None for case in cases)
    waiting: deque[_Worker] = deque()
    try:
        for case in cases:
            if case.cannot_run is not None:
                yield measure(case, setting)
                continue
            while len(waiting) < min(needed, 1 + ahead):
                waiting.append(_start(context))
            needed -= 1
            yield _run(waiting.popleft(), case, setting)
    finally:
        for worker in waiting:
            worker.process.terminate()
            worker.process.join()


def _start(context: Any) -> _Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,))
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _serve(pipe: Connection) -> None:
    import mentor_pyg  # noqa: F401 Before the case is there, which is timed from then on.

    warnings.filterwarnings("ignore", message="Sparse")  # Beta notices of torch's.
    case, setting = pipe.recv()
    pipe.send(measure(case, setting))


def _run(worker: _Worker, case: Case, setting: Setting) -> Row:
    try:
        worker.pipe.send((case, setting))
        if not worker.pipe.poll(_PATIENCE):
            worker.process.terminate()
            return _failed(case, f"stopped after {_PATIENCE} s")
        row: Row = worker.pipe.recv()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        worker.process.join()
        code = worker.process.exitcode
        return _failed(case, f"the process ended with {code}; -9 is for want of memory")
    finally:
        worker.process.join()
    return row


def _failed(case: Case, reason: str) -> Row:
    names = {"suite": case.suite, "case": case.name, "backend": case.backend}
    return {**names, "status": "failed", "reason": reason}
