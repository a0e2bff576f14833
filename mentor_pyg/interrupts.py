"""Ending a run cleanly when it is told to stop."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

__all__ = ["interruptible", "terminable"]

_SAYS_SO = ContextVar("_SAYS_SO", default=False)
"""Whether a block around says how to go on."""


@contextmanager
def terminable() -> Iterator[None]:
    """Have SIGTERM end a block with ``SystemExit(143)``, so that it leaves nothing half-written.

    In a thread other than the main one, signals are left alone.
    """
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number)) if main else 0
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def interruptible(out: Path) -> Iterator[None]:
    """Say how to go on with the run in ``out`` when SIGINT or SIGTERM stops it.

    SIGINT ends it with ``KeyboardInterrupt``, as everywhere in Python, and SIGTERM as
    :func:`terminable` has it. Of several such blocks in each other, the outermost says it.
    """
    is_inner, token = _SAYS_SO.get(), _SAYS_SO.set(True)
    with terminable():
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            if not is_inner:
                where = shlex.quote(str(out))
                print(f"stopped; run the same again with --out {where} to go on", file=sys.stderr)
            raise
        finally:
            _SAYS_SO.reset(token)
