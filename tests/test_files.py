import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from mentor_pyg.files import (
    check_replaceable,
    read_json,
    replace_folder,
    replaced_whole,
    user_cache,
    write_json,
)
from mentor_pyg.tensor_files import save_tensors


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


def test_json_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": [1, None]})
    assert path.read_text().endswith("}\n")
    with read_json(path, "") as values:
        assert values == {"a": [1, None]}
    with pytest.raises(TypeError):
        write_json(path, {"a": Path})
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    with read_json(path, "") as values:
        assert values == {"a": [1, None]}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"a": ', "Expecting value"),
        (b"\xff", "codec can't decode"),
        (b"[1]", "indices must be"),
        (b"{}", "it has no 'a'"),
        (b'{"a": 1}', "has no attribute 'keys'"),
    ],
)
def test_damaged_json_is_named_with_what_mends_it(tmp_path: Path, text: bytes, why: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text)
    message = rf"{path} is damaged or not of this version \(.*{why}.*\); train anew"
    with pytest.raises(ValueError, match=message), read_json(path, "train anew") as values:
        values["a"].keys()
    with pytest.raises(FileNotFoundError), read_json(tmp_path / "b.json", "train anew"):
        pass


def test_a_folder_is_replaced_with_nothing_of_the_users_in_it(tmp_path: Path) -> None:
    target = tmp_path / "out"
    check_replaceable(target, {"a"}, force=False)
    target.mkdir()
    check_replaceable(target, {"a"}, force=False)  # empty
    (target / "a").write_text("ours")
    check_replaceable(target, {"a"}, force=True)
    with pytest.raises(FileExistsError, match="give --force to replace it"):
        check_replaceable(target, {"a"}, force=False)
    (target / "b").mkdir()
    with pytest.raises(FileExistsError, match="holds what would be lost, b; move it away"):
        check_replaceable(target, {"a"}, force=True)
    with pytest.raises(NotADirectoryError, match=r"a is no folder; give another one than .*c"):
        check_replaceable(target / "a" / "c", set(), force=True)
