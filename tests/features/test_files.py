import os
import time
from pathlib import Path

import pytest

from mentor_pyg.features import AudioEncoder, ImageEncoder, ItemFiles, UnusableError

IDS = ["a", "b.c", "007"]
SUFFIXES = (".jpg", ".png", ".webp")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    (root / "sub").mkdir(parents=True)
    for name in ("a.png", "b.c.webp", "sub/x.png"):
        (root / name).write_text(name)
    (tmp_path / "secret.png").write_text("secret")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    return root


def test_files_are_found_by_the_ids_of_items(root: Path) -> None:
    (root / "007.jpg").mkdir()
    for name in ("a.json", "a.csv", "a", "b.txt"):
        (root / name).write_text(name)
    files = ItemFiles(root, None, IDS, SUFFIXES)
    assert files.path(0).name == "a.png"
    assert files.path(1).name == "b.c.webp"
    with pytest.raises(UnusableError, match=r"no file of its name that ends in \.jpg, \.png"):
        files.path(2)


def test_an_item_with_two_files_is_an_error_that_names_them(root: Path) -> None:
    for name in ("x.png", "x.jpg"):  # Of no item.
        (root / name).write_text(name)
    assert ItemFiles(root, None, IDS, SUFFIXES).path(0).name == "a.png"
    (root / "a.JPG").write_text("another")
    with pytest.raises(ValueError, match=r"two files of the item 'a', a\.JPG and a\.png; remove"):
        ItemFiles(root, None, IDS, SUFFIXES)
    assert ItemFiles(root, ["a.png", None, None], IDS, SUFFIXES).path(0).name == "a.png"


def test_what_cannot_be_read_is_named(root: Path) -> None:
    def broken(path: Path) -> str:
        raise UnusableError("it is broken")

    files = ItemFiles(root, ["sub/x.png", None, None], IDS, SUFFIXES)
    assert files.read(0, Path.read_text) == "sub/x.png"
    with pytest.raises(UnusableError, match=r"^it is broken: sub/x\.png$"):
        files.read(0, broken)
    with pytest.raises(UnusableError, match="no file is named"):
        files.read(1, broken)


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
    files = ItemFiles(root, ["sub/x.png", name, "a.png"], IDS, SUFFIXES)
    assert files.path(0).read_text() == "sub/x.png"
    with pytest.raises(UnusableError, match=reason):
        files.path(1)


def test_the_checksum_tells_when_files_are_others(root: Path) -> None:
    names = ["a.png", "none.png", "b.c.webp"]
    files = ItemFiles(root, names, IDS, SUFFIXES)
    before = files.sha256()
    assert ItemFiles(root, names, IDS, SUFFIXES).sha256() == before
    os.utime(root / "a.png", ns=(1, 1))
    assert files.sha256() != before
    before = files.sha256()
    (root / "none.png").write_text("now it is")
    assert files.sha256() != before


def test_the_checksum_tells_when_files_of_one_size_and_time_are_swapped(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, ns=(1, 1))
    os.link(tmp_path / "a.png", tmp_path / "same.png")
    one, other = (ItemFiles(tmp_path, [name], ["a"], SUFFIXES) for name in ("a.png", "same.png"))
    assert one.sha256() != other.sha256()
    before = ItemFiles(tmp_path, ["a.png", "b.png"], ["a", "b"], SUFFIXES).sha256()
    time.sleep(0.02)  # Longer than the clock of files stands still.
    for source, target in (("a", "c"), ("b", "a"), ("c", "b")):
        (tmp_path / f"{source}.png").rename(tmp_path / f"{target}.png")
    assert ItemFiles(tmp_path, ["a.png", "b.png"], ["a", "b"], SUFFIXES).sha256() != before


def test_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="correct --files"):
        ItemFiles(tmp_path / "none", None, IDS, SUFFIXES)


def test_the_documentation_lists_what_files_end_in() -> None:
    page = (Path(__file__).parents[2] / "docs" / "features.md").read_text()
    assert all(f"`{suffix}`" in page for suffix in ImageEncoder.suffixes + AudioEncoder.suffixes)
