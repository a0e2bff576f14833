from collections.abc import Callable
from pathlib import Path

import pytest

from mentor_pyg import dependencies
from tests.cli.conftest import SMALL, Command


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    rows = [f"u{user},{(user + step) % 9}," for user in range(12) for step in range(5)]
    path.write_text("reviewerID,asin,note\n" + "\n".join(rows) + "\n")
    return path


def test_prepares_what_train_takes(command: Command, reviews: Path, tmp_path: Path) -> None:
    pytest.importorskip("duckdb", reason="needs the extra 'prepare'")
    out = tmp_path / "my data"
    args = ("--core", 2, "--val-ratio", 0.2, "--seed", 3, "--threads", 1)
    done = command("prepare", reviews, "--out", out, *args)
    assert (done.status, done.err) == (0, "")
    assert done.out.endswith(f"see card.md, or train with --data '{out}'\n")
    assert f"columns of {reviews}: user reviewerID (guessed), item asin (guessed)\n" in done.out
    assert "2-core, in 0 rounds: 60 interactions, 12 users, 9 items\n" in done.out
    run = ("--model", "bprmf", "--data", out, "--out", tmp_path / "run", "--training.epochs", 1)
    assert command("train", *run, *SMALL, "--training.k", "[5]").status == 0
    assert "with original ids" in command("data", out).out


def test_says_what_is_wrong_in_a_line(
    refused: Callable[..., None], reviews: Path, tmp_path: Path
) -> None:
    pytest.importorskip("duckdb", reason="needs the extra 'prepare'")
    out = ("--out", tmp_path / "data")
    refused(r"'features' needs NAME=FILE", "prepare", reviews, *out, "--features", "text.npy")
    twice = ("--features", "text=a.npy", "--features", "text=b.npy")
    refused("'features' names 'text' 2 times", "prepare", reviews, *out, *twice)
    refused("'split'", "prepare", reviews, *out, "--split", "other")
    with reviews.open("a") as file:
        file.write("u1\n")
    refused(r"reviews.csv, line 62: missing columns.*--max-errors 1", "prepare", reviews, *out)


def test_blanks_after_commas_are_no_part_of_columns(
    command: Command, reviews: Path, tmp_path: Path
) -> None:
    pytest.importorskip("duckdb", reason="needs the extra 'prepare'")
    args = ("--columns", "user, item ,note", "--threads", 1)
    done = command("prepare", reviews, "--out", tmp_path / "data", *args)
    assert f"columns of {reviews}: user user (guessed), item item (guessed)\n" in done.out


def test_names_the_extra(
    refused: Callable[..., None],
    reviews: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dependencies, "has_package", lambda name: name != "duckdb")
    refused("extra 'prepare'", "prepare", reviews, "--out", tmp_path / "data")
    assert not list(tmp_path.glob(".*")) and not (tmp_path / "data").exists()


def test_forms_of_times_and_ratings(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("duckdb", reason="needs the extra 'prepare'")
    path = tmp_path / "sales.csv"
    rows = "".join(f"u{n};i{m};{m},5;0{m + 1}.02.2024\n" for n in range(3) for m in range(6))
    path.write_text(f"user;item;rating;time\n{rows}")
    forms = ("--time-format", "%d.%m.%Y", "--decimal-comma", "--threads", 1)
    done = command("prepare", path, "--out", tmp_path / "data", *forms)
    assert (done.status, done.err) == (0, "")
    card = (tmp_path / "data" / "card.md").read_text()
    assert "--time-format %d.%m.%Y --decimal-comma" in card
    assert "%d.%m.%Y %H:%M" in " ".join(command("prepare", "--help").out.split())
