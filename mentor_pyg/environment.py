"""Where a result was made."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path

import torch

from mentor_pyg.version import __version__

__all__ = ["PeakMemory", "describe_environment"]


class PeakMemory:
    """The most resident memory of this process since it was made, where the system keeps one."""

    def __init__(self) -> None:
        self._has_reset = False
        with suppress(OSError):  # It is Linux's.
            Path("/proc/self/clear_refs").write_text("5")
            self._has_reset = True

    def read(self) -> float | None:
        """Return the peak in MiB; ``None`` where there is none to be had."""
        if not self._has_reset:
            return None
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def describe_environment(device: torch.device) -> dict[str, str | int]:
    """Return the versions, device and threads that a result may depend on, as plain values."""
    return {
        "device": str(device),
        "version": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
