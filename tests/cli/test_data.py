from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Command


def break_label(folder: Path) -> None:
    path = folder / "tiny.inter"
    lines = path.read_text().splitlines()
    lines[5] = lines[5][:-1] + "9"
    path.write_text("\n".join(lines) + "\n")


def test_says_what_a_folder_holds(command: Command, folder: Path) -> None:
    x = np.load(folder / "image_feat.npy")
    x[:20] = 0
    np.save(folder / "image_feat.npy", x)
    rows = [f"user-{n}\t{n}" for n in range(60)]
    (folder / "u_id_mapping.csv").write_text("\n".join(["user\tuserID", *rows]))
    done = command("data", folder)
    assert (done.status, done.err) == (0, "")
    assert [" ".join(line.split()) for line in done.out.splitlines()] == [
        f"{folder}: 478 interactions, density 9.9583%",
        "users 60 0 without train interactions, with original ids",
        "items 80 1 without train interactions",
        "train 358 of 60 users and 79 items",
        "val 60 of 60 users and 34 items",
        "test 60 of 60 users and 33 items",
        "visual 24 wide 75.0% of the items have it",
        "textual 16 wide 100.0% of the items have it",
    ]


def test_says_what_is_not_as_published(command: Command, folder: Path) -> None:
    (folder / "tiny.inter").rename(folder / "baby.inter")
    verdicts = [line for line in command("data", folder).out.splitlines() if "published" in line]
    names = ("baby.inter", "image_feat.npy", "text_feat.npy")
    for name, line in zip(names, verdicts, strict=True):
        assert line.startswith(f"{folder / name} is not the published file (SHA-256 ")


def test_says_what_was_dropped_every_time(command: Command, folder: Path) -> None:
    with (folder / "tiny.inter").open("a") as file:
        file.write((folder / "tiny.inter").read_text().splitlines()[-1] + "\n")
    for _ in range(2):  # The second time, there is a cache.
        done = command("data", folder)
        assert done.status == 0
        (note,) = [line for line in done.out.splitlines() if line.startswith("note: ")]
        assert "1 rows repeat a user and item" in note


def test_without_features(command: Command, folder: Path) -> None:
    for path in folder.glob("*_feat.npy"):
        path.unlink()
    (folder / "tiny.inter").write_text("userID\titemID\tx_label\n0\t0\t0\n0\t1\t1\n1\t0\t2\n")
    done = command("data", folder)
    assert done.out.splitlines()[-1].startswith("no item features")


def test_says_everything_that_is_wrong(command: Command, folder: Path) -> None:
    x, y = np.load(folder / "image_feat.npy"), np.load(folder / "text_feat.npy")
    x[3, 2] = np.nan
    np.save(folder / "image_feat.npy", x)
    np.save(folder / "text_feat.npy", y[:-1])
    np.save(folder / "id_feat.npy", y)
    (folder / "u_id_mapping.csv").write_text("user\tuserID\na\tb\n")
    break_label(folder)
    done = command("data", folder)
    assert (done.status, done.out) == (2, "")
    wrongs = ("'id'", "row 3 is NaN", "got 79", "line 6: column", "u_id_mapping.csv: userID")
    for line, wrong in zip(done.err.splitlines(), wrongs, strict=True):
        assert line.startswith("error: ") and wrong in line


@pytest.mark.parametrize(
    ("name", "message"), [("absent", "error: there is no data folder"), ("", "no .inter file")]
)
def test_a_folder_without_data(name: str, message: str, command: Command, tmp_path: Path) -> None:
    done = command("data", tmp_path / name)
    assert done.status == 2
    assert done.err.count("\n") == 1 and message in done.err
