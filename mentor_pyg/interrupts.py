"""Ending a run cleanly when it is told to stop."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

__all__ = ["interruptible"]

_SAYS_SO = ContextVar("_SAYS_SO", default=False)
"""Whether a block around says how to go on."""


@contextmanager
def interruptible(out: Path) -> Iterator[None]:
    """Say how to go on with the run in ``out`` when SIGINT or SIGTERM stops it.

    Of several such blocks in each other, the outermost says it.

    SIGINT ends it with ``KeyboardInterrupt``, as everywhere in Python, and SIGTERM with
    ``SystemExit(143)``. In a thread other than the main one, signals are left alone.
    """
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number)) if main else 0
    is_inner = _SAYS_SO.get()
    token = _SAYS_SO.set(True)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if not is_inner:
            print(f"stopped; run the same again with --out {out} to go on", file=sys.stderr)
        raise
    finally:
        _SAYS_SO.reset(token)
        if main:
            signal.signal(signal.SIGTERM, before)
