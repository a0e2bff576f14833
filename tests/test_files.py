import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from mentor_pyg.files import (
    checksum,
    load_checked,
    replace_folder,
    replaced_whole,
    save_checked,
    save_tensors,
    user_cache,
)


def tensors() -> dict[str, Tensor]:
    return {
        "x": torch.tensor([[1.5, -2.0], [0.0, 3.0]]),
        "mask": torch.tensor([True, False]),
        "empty": torch.empty(2, 0, dtype=torch.long),
        "scalar": torch.tensor(3, dtype=torch.bfloat16),
    }


def test_replaced_whole_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with replaced_whole(str(path)) as partial, replaced_whole(path) as other:
        assert partial != other
        assert partial.parent == tmp_path
        partial.write_text("new")
        other.write_text("other")
        assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt()])
def test_replaced_whole_leaves_nothing_of_a_failure(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(type(error)), replaced_whole(path) as partial:
        partial.write_text("half")
        raise error
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def write_text(path: Path) -> None:
    with replaced_whole(path) as partial:
        partial.write_text("new" * 1000)


def write_tensors(path: Path) -> None:
    save_tensors({"x": torch.zeros(1000)}, path)


@pytest.mark.parametrize("write", [write_text, write_tensors])
def test_a_full_disk_leaves_what_was_there_and_says_so(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with (
        pytest.raises(OSError, match=rf"{path} could not be written, .* untouched \(") as caught,
        disk_of(100),
    ):
        write(path)
    assert caught.value.errno == errno.EFBIG
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert path.read_text() == "old"


def test_the_class_of_an_error_stays(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a could not be written"):
        write_text(tmp_path / "nowhere" / "a")
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError, match=r"a could not be written"):
        write_tensors(tmp_path / "a")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_tensors_get_the_permissions_that_the_umask_gives(
    tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        save_tensors(tensors(), tmp_path / "a.safetensors", {"about": "this"})
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == mode


def test_save_tensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    x = torch.rand(3, 4, requires_grad=True)
    save_tensors({"x": x, "y": x.t()[1:]}, path, {"about": "this"})
    loaded = safetensors.torch.load_file(path)
    assert torch.equal(loaded["x"], x)
    assert torch.equal(loaded["y"], x.t()[1:])
    with safetensors.safe_open(path, framework="pt") as file:
        assert file.metadata() == {"about": "this"}


def test_checksum_depends_on_names_types_shapes_values_and_text() -> None:
    x = torch.tensor([[1, 2], [3, 4]])
    expected = checksum({"x": x, "y": x}, "text")
    assert expected == checksum({"y": x.t().contiguous().t(), "x": EdgeIndex(x)}, "text")
    others = [
        checksum({"x": x, "z": x}, "text"),
        checksum({"x": x, "y": x.int()}, "text"),
        checksum({"x": x, "y": x.view(4)}, "text"),
        checksum({"x": x, "y": x.t()}, "text"),
        checksum({"x": x, "y": x}, "texts"),
        checksum({"x": x}, "text"),
    ]
    assert len({expected, *others}) == 7
    one, other = torch.tensor([1.0, 0.0]), torch.tensor([1.0, -0.0])
    assert checksum({"x": one}) != checksum({"x": other})


def test_checked_tensors_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checked(tensors(), path, '{"a": 1}')
    loaded, metadata = load_checked(path)
    assert metadata == '{"a": 1}'
    assert loaded.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)
    path.write_bytes(b"\0" * path.stat().st_size)  # they do not change with the file
    assert torch.equal(loaded["x"], tensors()["x"])


def test_every_flipped_bit_and_lost_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checked(tensors(), path, "text")
    content = path.read_bytes()
    flipped = [bytearray(content) for _ in content]
    for position, damaged in enumerate(flipped):
        damaged[position] ^= 1 << position % 8
    for damaged in (*flipped, content[:-1], content[:9], b"", content + b" "):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=str(path)):
            load_checked(path)


def test_files_without_a_checksum_are_not_trusted(tmp_path: Path) -> None:
    save_tensors(tensors(), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"a.safetensors is damaged"):
        load_checked(tmp_path / "a.safetensors")


def test_user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert user_cache() == tmp_path / ".cache" / "mentor_pyg"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert user_cache() == tmp_path / "xdg" / "mentor_pyg"


def test_a_folder_is_as_it_was_where_replacing_it_fails(tmp_path: Path) -> None:
    target, before = tmp_path / "out", tmp_path / ".before"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "none", target, before)
    assert [path.name for path in target.iterdir()] == ["old"] and not before.exists()
    (tmp_path / "new").mkdir()
    replace_folder(tmp_path / "new", target, before)
    assert not [*target.iterdir()] and [path.name for path in tmp_path.iterdir()] == ["out"]
