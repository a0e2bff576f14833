import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from mentor_pyg import memory as memory_module
from mentor_pyg.memory import PeakMemory, available_memory, keep_freed_memory


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_the_peak_is_of_what_came_since() -> None:
    held = torch.ones(2**25)  # 128 MiB that come and go before.
    del held
    memory = PeakMemory()
    before, quiet = memory.before, memory.read()
    assert before is not None and quiet is not None and quiet < before + 32
    more = torch.ones(2**25)
    del more
    peak = memory.read()
    assert peak is not None and peak >= before + 120


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_what_was_freed_and_kept_does_not_count() -> None:
    keep_freed_memory()
    held = [bytearray(24 * 2**20) for _ in range(8)]
    with_it = PeakMemory().before
    del held
    without = PeakMemory().before
    assert with_it is not None and without is not None and without < with_it - 150


def test_where_the_system_keeps_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory_module, "Path", lambda _: tmp_path / "absent" / "clear_refs")
    memory = PeakMemory()
    assert (memory.before, memory.read()) == (None, None)


FAULTS = """
import resource, sys
from mentor_pyg.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [bytearray(24 * 2**20) for _ in range(4)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it is glibc's")
def test_what_is_freed_is_kept() -> None:
    """And was not kept before, or there would be nothing to gain."""

    def faults(how: str, **variables: str) -> int:
        command, environment = [sys.executable, "-c", FAULTS, how], {**os.environ, **variables}
        run = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)
        return int(run.stdout)

    assert faults("keep") < 100 < faults("give")
    assert faults("keep", MALLOC_TRIM_THRESHOLD_="131072") > 100  # The user has a word.


def test_available_memory_is_the_machine_s_or_its_container_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory_module, "_LIMITS", (str(tmp_path / "absent"), str(limit)))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000, total=9))
    assert available_memory() == 1000
    for text, expected in (("max\n", 1000), ("700\n", 700), ("9223372036854771712\n", 1000)):
        limit.write_text(text)
        assert available_memory() == expected
