"""How much memory there is."""

from __future__ import annotations

from pathlib import Path

import psutil  # type: ignore[import-untyped]

__all__ = ["available_memory"]

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says what a container may take, in its second and its first version."""


def available_memory() -> int:
    """Return the bytes that the machine has left, or that its container may take if fewer."""
    available: int = psutil.virtual_memory().available
    for path in map(Path, _LIMITS):
        if path.exists() and (limit := path.read_text().strip()).isdigit():
            available = min(available, int(limit))
    return available
