import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.datasets.cache import (
    cache_file_name,
    cache_folder,
    file_sha256,
    read_cache,
    write_cache,
)


def small_data() -> HeteroData:
    data = HeteroData()
    data["item"].num_nodes = 3
    data["item", "semantic", "item"].edge_index = torch.tensor([[0, 1], [1, 2]])
    return data


def test_file_sha256(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert file_sha256(path) == hashlib.sha256(b"content").hexdigest()


def test_file_name_depends_on_everything_but_order() -> None:
    name = cache_file_name("a", {"inter": "1", "visual": "2"}, {"k": 10})
    assert name == cache_file_name("a", {"visual": "2", "inter": "1"}, {"k": 10})
    assert name != cache_file_name("b", {"inter": "1", "visual": "2"}, {"k": 10})
    assert name != cache_file_name("a", {"inter": "1", "textual": "2"}, {"k": 10})
    assert name != cache_file_name("a", {"inter": "1", "visual": "3"}, {"k": 10})
    assert name != cache_file_name("a", {"inter": "1", "visual": "2"}, {"k": 11})


def test_round_trip_leaves_one_file(tmp_path: Path) -> None:
    write_cache(small_data(), tmp_path / "a.pt")
    for mmap in (False, True):
        data = read_cache(tmp_path / "a.pt", mmap=mmap)
        assert data is not None
        assert str(data) == str(small_data())
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cache(small_data(), tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()

    def half_a_save(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", half_a_save)
    with pytest.raises(OSError, match="no space"):
        write_cache(small_data(), tmp_path / "a.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    assert (tmp_path / "a.pt").read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"", b"no archive", pickle.dumps({"a": HeteroData}, protocol=2)]
)
@pytest.mark.parametrize("mmap", [False, True])
def test_damaged_files_are_none(tmp_path: Path, content: bytes, mmap: bool) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    assert read_cache(tmp_path / "a.pt", mmap=mmap) is None
    assert read_cache(tmp_path / "missing.pt", mmap=mmap) is None


def test_planted_pickles_are_not_executed(tmp_path: Path) -> None:
    class Explosive:
        def __reduce__(self) -> tuple[object, ...]:
            return pytest.fail, ("the pickle was executed",)

    torch.save(Explosive(), tmp_path / "a.pt")
    assert read_cache(tmp_path / "a.pt") is None


def test_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    root = tmp_path / "root"
    (root / "processed").mkdir(parents=True)
    assert cache_folder(root, tmp_path / "chosen", "a.pt") == tmp_path / "chosen"
    assert cache_folder(root, None, "a.pt") == root / "processed"
    (root / "processed").chmod(0o555)
    assert cache_folder(root, None, "a.pt") == tmp_path / "home" / ".cache" / "mentor_pyg"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder(root, None, "a.pt") == tmp_path / "xdg" / "mentor_pyg"
    (root / "processed").chmod(0o755)
    (root / "processed" / "a.pt").touch()
    (root / "processed").chmod(0o555)
    assert cache_folder(root, None, "a.pt") == root / "processed"  # there to be read
    (root / "processed").chmod(0o755)
