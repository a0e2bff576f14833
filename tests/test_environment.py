from pathlib import Path

import pytest
import torch

from mentor_pyg import environment
from mentor_pyg.environment import PeakMemory


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


def test_where_the_system_keeps_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "Path", lambda _: tmp_path / "absent" / "clear_refs")
    memory = PeakMemory()
    assert (memory.before, memory.read()) == (None, None)
