import os
from pathlib import Path

import pytest

from mentor_pyg.features import ItemFiles, UnusableError

IDS = ["a", "b.c", "007"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    (root / "sub").mkdir(parents=True)
    for name in ("a.png", "a.jpg", "b.c.webp", "sub/x.png"):
        (root / name).write_text(name)
    (tmp_path / "secret.png").write_text("secret")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    return root


def test_files_are_found_by_the_ids_of_items(root: Path) -> None:
    files = ItemFiles(root, None, IDS)
    assert files.path(0).name == "a.jpg"  # The first by name.
    assert files.path(1).name == "b.c.webp"
    with pytest.raises(UnusableError, match="there is no file of its name"):
        files.path(2)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../secret.png", "outside of the folder"),
        ("link.png", "outside of the folder"),
        ("/etc/hostname", "outside of the folder"),
        ("sub/../../secret.png", "outside of the folder"),
        ("none.png", "is not there"),
        ("sub", "it is no file"),
        ("a.png\0", "zero byte"),
        ("x" * 5000, "is not there"),
        ("https://example.org/a.png", "an address"),
        ("", "no file is named"),
        (None, "no file is named"),
    ],
)
def test_nothing_but_files_of_the_folder_is_read(root: Path, name: str, reason: str) -> None:
    files = ItemFiles(root, ["sub/x.png", name, "a.png"], IDS)
    assert files.path(0).read_text() == "sub/x.png"
    with pytest.raises(UnusableError, match=reason):
        files.path(1)


def test_the_checksum_tells_when_files_are_others(root: Path) -> None:
    files = ItemFiles(root, ["a.png", "none.png", "a.jpg"], IDS)
    before = files.sha256()
    assert ItemFiles(root, ["a.png", "none.png", "a.jpg"], IDS).sha256() == before
    os.utime(root / "a.jpg", ns=(1, 1))
    assert files.sha256() != before
    before = files.sha256()
    (root / "none.png").write_text("now it is")
    assert files.sha256() != before


def test_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="correct --files"):
        ItemFiles(tmp_path / "none", None, IDS)
