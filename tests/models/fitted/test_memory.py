from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from mentor_pyg.models.fitted import memory


def test_is_the_machine_s_or_its_container_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_LIMITS", (str(tmp_path / "absent"), str(limit)))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000, total=9))
    assert memory.available_memory() == 1000
    for text, expected in (("max\n", 1000), ("700\n", 700), ("9223372036854771712\n", 1000)):
        limit.write_text(text)
        assert memory.available_memory() == expected
