import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import fingerprint
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
    data["item"].x_visual = torch.tensor([[1.5], [0.0], [-2.0]])
    data["item"].has_visual = torch.tensor([True, False, True])
    data["user", "interacts", "item"].edge_index = torch.tensor([[0, 1], [1, 2]])
    data["user", "interacts", "item"].val_edge_label_index = torch.empty(2, 0, dtype=torch.long)
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
    write_cache(small_data(), tmp_path / "a.safetensors")
    data = read_cache(tmp_path / "a.safetensors")
    assert data is not None
    assert str(data) == str(small_data())
    assert data["item"].num_nodes == 3
    assert fingerprint(data) == fingerprint(small_data())
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_every_flipped_bit_is_noticed_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.safetensors"
    write_cache(small_data(), path)
    content = path.read_bytes()
    for position in range(0, 8 * len(content), 29):
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        assert read_cache(path) is None, position
        assert str(path) in caplog.text
        caplog.clear()


@pytest.mark.parametrize(
    "content", [b"", b"no archive", pickle.dumps({"a": HeteroData}, protocol=2)]
)
def test_damaged_files_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    assert read_cache(tmp_path / "a.safetensors") is None
    assert read_cache(tmp_path / "missing.safetensors") is None


def test_planted_pickles_are_not_executed(tmp_path: Path) -> None:
    class Explosive:
        def __reduce__(self) -> tuple[object, ...]:
            return pytest.fail, ("the pickle was executed",)

    torch.save(Explosive(), tmp_path / "a.safetensors")
    assert read_cache(tmp_path / "a.safetensors") is None


def test_only_what_was_of_the_same_dataset_goes(tmp_path: Path) -> None:
    before, after = ("ab" * 16, "cd" * 16)
    gone = tmp_path / f"a-{before}.safetensors"
    kept = [f"a-b-{before}.safetensors", f"b-{before}.safetensors", "a-mine.safetensors", "a.inter"]
    for name in (gone.name, *kept):
        (tmp_path / name).touch()
    path = tmp_path / f"a-{after}.safetensors"
    write_cache(small_data(), path)
    assert gone.exists()
    write_cache(small_data(), path, alone=True)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([path.name, *kept])


def test_a_file_that_goes_while_it_is_read_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    assert read_cache(tmp_path / "gone.safetensors") is None
    assert not caplog.text


def test_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    root = tmp_path / "root"
    (root / "processed").mkdir(parents=True)
    assert cache_folder(root, tmp_path / "chosen", "a.safetensors") == tmp_path / "chosen"
    assert cache_folder(root, None, "a.safetensors") == root / "processed"
    (root / "processed").chmod(0o555)
    assert cache_folder(root, None, "a.safetensors") == tmp_path / "home" / ".cache" / "mentor_pyg"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder(root, None, "a.safetensors") == tmp_path / "xdg" / "mentor_pyg"
    (root / "processed").chmod(0o755)
    (root / "processed" / "a.safetensors").touch()
    (root / "processed").chmod(0o555)
    assert cache_folder(root, None, "a.safetensors") == root / "processed"  # there to be read
    (root / "processed").chmod(0o755)
