"""Where a result was made."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path

import torch

from mentor_pyg.version import __version__

__all__ = ["PeakMemory", "describe_environment"]


class PeakMemory:
    """The most resident memory of this process since it was made, where the system keeps one.

    Attributes:
        before: What was resident then, in MiB; ``None`` where the system keeps no peak.
    """

    def __init__(self) -> None:
        self.before: float | None = None
        with suppress(OSError):  # It is Linux's.
            Path("/proc/self/clear_refs").write_text("5")
            self.before = _status_mib("VmRSS")

    def read(self) -> float | None:
        """Return the peak in MiB; ``None`` where there is none to be had."""
        return None if self.before is None else _status_mib("VmHWM")


def _status_mib(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))


def describe_environment(device: torch.device) -> dict[str, str | int]:
    """Return the versions, device and threads that a result may depend on, as plain values."""
    return {
        "device": str(device),
        "version": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
