"""The machine and the software that a report was made with."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

__all__ = ["describe"]

_PACKAGES = ("mentor_pyg", "torch", "torch-geometric", "triton", "torch-scatter", "numpy")

_VARIABLES = ("MALLOC_", "OMP_", "MKL_", "ONEDNN_", "PYTORCH_", "TRITON_INTERPRET")
"""How the names of variables start that change speed and memory."""


def describe(device: str, threads: int) -> dict[str, str | int]:
    """Return what a reader needs to compare numbers: hardware, versions, commit, date."""
    found: dict[str, str | int] = {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 0,
        "threads": threads,
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d"),
    }
    if device == "cuda":
        found["cuda"] = torch.version.cuda or "none"
        found["capability"] = ".".join(map(str, torch.cuda.get_device_capability()))
        found["driver"] = _driver()
        memory = torch.cuda.get_device_properties(0).total_memory
        found["device_memory"] = f"{memory / 2**30:.0f} GiB"
    settings = {k: v for k, v in sorted(os.environ.items()) if k.startswith(_VARIABLES)}
    if settings:
        found["environment"] = " ".join(f"{key}={value}" for key, value in settings.items())
    return found


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    fields = {}
    for line in info.read_text().split("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    name = fields.get("model name", platform.machine())
    flags = fields.get("flags", "").split()
    units = [u for u in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if u in flags]
    return f"{name}, model {fields.get('model', '?')} ({', '.join(units)})"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    return _output("git", "describe", "--always", "--dirty")


def _driver() -> str:
    return _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0")


def _output(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent
        )
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"
