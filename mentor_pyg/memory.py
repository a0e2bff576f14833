"""Memory: what there is, the peak of this process, and what becomes of what it frees."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

__all__ = ["PeakMemory", "available_memory", "keep_freed_memory"]

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says what a container may take, in its second and its first version."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # As in glibc's malloc.h.
_LARGEST_HELD = 32 * 2**20
"""The most bytes of an array that glibc takes from its heap: its own bound."""
_OF_THE_USER = {"GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"}
"""Variables by which a user says what glibc keeps."""


def available_memory() -> int:
    """Return the bytes that the machine has left, or that its container may take if fewer."""
    available: int = psutil.virtual_memory().available
    for path in map(Path, _LIMITS):
        if path.exists() and (limit := path.read_text().strip()).isdigit():
            available = min(available, int(limit))
    return available


class PeakMemory:
    """The most resident memory of this process since it was made, where the system keeps one.

    What was freed before goes back to the system first, or it would be used again uncounted.

    Attributes:
        before: What was resident then, in MiB; ``None`` where the system keeps no peak.
    """

    def __init__(self) -> None:
        self.before: float | None = None
        gc.collect()
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        with suppress(OSError):  # It is Linux's.
            Path("/proc/self/clear_refs").write_text("5")
            self.before = _status_mib("VmRSS")

    def read(self) -> float | None:
        """Return the peak in MiB; ``None`` where there is none to be had."""
        return None if self.before is None else _status_mib("VmHWM")


def keep_freed_memory() -> None:
    """Have the process keep blocks of up to 32 MiB that it frees, where its C library is glibc.

    A training step frees what the next one allocates. Handed back to the system in between, every
    page of it is fetched and cleared anew, which takes a sixth of a step of MENTOR on a CPU, though
    nothing of one of GRCN or LightGCN. A user's own setting, such as ``MALLOC_TRIM_THRESHOLD_`` in
    the environment, is left as it is.
    """
    if sys.platform != "linux" or not _OF_THE_USER.isdisjoint(os.environ):
        return
    with suppress(AttributeError):  # Other C libraries have no such call.
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_HELD)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _status_mib(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))
