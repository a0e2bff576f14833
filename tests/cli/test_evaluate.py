import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mentor_pyg import dependencies
from mentor_pyg.cli.trained import open_run
from mentor_pyg.evaluation import full_ranking, per_user_metrics
from mentor_pyg.typing import Split
from tests.cli.conftest import SMALL, Command


def rows(out: str) -> dict[str, str]:
    return dict(line.split() for line in out.splitlines())


@pytest.mark.parametrize("split", ["val", "test"])
def test_gives_what_the_run_reported(split: str, command: Command, finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())[split]
    done = command("evaluate", finished, "--split", split, "--k", "5,10", "--metrics", "map,recall")
    assert (done.status, done.err) == (0, "")
    wanted = ["map@5", "map@10", "recall@5", "recall@10"]
    assert rows(done.out) == {key: f"{metrics[key]:.4f}" for key in wanted}


def test_test_at_10_and_20_is_the_default(command: Command, finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())["test"]
    found = rows(command("evaluate", finished).out)
    assert list(found) == ["recall@10", "recall@20", "ndcg@10", "ndcg@20"]
    assert found["ndcg@10"] == f"{metrics['ndcg@10']:.4f}"


def read(path: Path) -> pd.DataFrame:
    """Read CSV; pandas' own conversion may be off in the last digit."""
    header = path.read_text().splitlines()[0].split(",")
    return pd.read_csv(path, converters={name: float for name in header if name != "user"})


def test_metrics_of_all_lists(command: Command, finished: Path) -> None:
    names = ["recall", "coverage", "gini", "novelty", "average_popularity"]
    done = command("evaluate", finished, "--k", "5,10", "--metrics", ",".join(names))
    assert (done.status, done.err) == (0, "")
    expected = full_ranking(*open_run(finished), k=(5, 10), metrics=names)
    assert rows(done.out) == {key: f"{value:.4f}" for key, value in expected.items()}
    assert len({line.rindex(" ") for line in done.out.splitlines()}) == 1  # one column


@pytest.mark.parametrize("split", ["val", "test"])
def test_writes_values_per_user(
    split: Split, command: Command, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "values.csv"
    args = ["evaluate", finished, "--split", split, "--k", "5,10", "--metrics", "ndcg,gini,map"]
    done = command(*args, "--per-user", out)
    assert (done.status, done.err) == (0, "")
    assert done.out == f"{command(*args).out}written to {out}\n"
    found = read(out)
    scorer, data = open_run(finished)
    expected = per_user_metrics(scorer, data, split, (5, 10), ("ndcg", "map"))
    assert list(found) == ["user", "ndcg@5", "ndcg@10", "map@5", "map@10"] == list(expected)
    assert all(found[key].tolist() == value.tolist() for key, value in expected.items())
    metrics = json.loads((finished / "metrics.json").read_text())[split]
    means = found.drop(columns="user").mean().to_dict()
    assert means == pytest.approx({key: metrics[key] for key in means}, rel=1e-14, abs=0)


def test_parquet_has_the_same_values(command: Command, finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for name in ("values.csv", "values.parquet"):
        assert command("evaluate", finished, "--per-user", tmp_path / name).status == 0
    found = pd.read_parquet(tmp_path / "values.parquet")
    pd.testing.assert_frame_equal(found, read(tmp_path / "values.csv"), check_exact=True)


def test_parquet_names_its_extra(
    refused: Callable[..., None], finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependencies, "has_package", lambda name: name != "pyarrow")
    message = "needs the package 'pyarrow'.*the extra 'parquet'.*or write a .csv file"
    refused(message, "evaluate", finished, "--per-user", "values.parquet")


def test_users_go_by_their_original_ids(command: Command, folder: Path, tmp_path: Path) -> None:
    lines = [f"u{n:03}\t{n}" for n in range(60)]
    (folder / "u_id_mapping.csv").write_text("\n".join(["original\tuserID", *lines]))
    run, out = tmp_path / "run", tmp_path / "values.csv"
    command("train", "--model", "bprmf", "--data", folder, "--out", run,
            "--training.epochs", 1, *SMALL)  # fmt: skip
    assert command("evaluate", run, "--per-user", out).status == 0
    users = per_user_metrics(*open_run(run))["user"].tolist()
    assert read(out)["user"].tolist() == [f"u{n:03}" for n in users]


def test_never_overwrites_unless_told_to(
    command: Command, refused: Callable[..., None], finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "values.csv"
    out.write_text("mine")
    args = ["evaluate", finished, "--per-user", out]
    refused("values.csv exists; give --force to replace it", *args)
    refused("'k' needs", *args, "--force", "--k", 81)
    assert out.read_text() == "mine"
    assert command(*args, "--force").status == 0
    assert list(read(out)) == ["user", "recall@10", "recall@20", "ndcg@10", "ndcg@20"]
    assert [path.name for path in tmp_path.iterdir()] == ["values.csv"]


def test_blanks_between_metrics_are_left_out(command: Command, finished: Path) -> None:
    args = ("evaluate", finished, "--metrics")
    assert command(*args, "recall, ndcg").out == command(*args, "recall,ndcg").out != ""


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_refitted_model_has_trained_on_it(
    split: str, refused: Callable[..., None], finished: Path
) -> None:
    message = f"has trained on the interactions of {split} too; evaluate .* {finished}"
    refused(message, "evaluate", finished / "refit", "--split", split)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--k", "10,81"], r"'k' needs positive integers up to the number of items, 80"),
        (["--k", "ten"], r"'k' needs integers, such as 10,20 \(got 'ten'\)"),
        (["--metrics", "hits"], r"'metrics' needs names among \['recall'.*\(got \['hits'\]\)"),
        (["--split", "train"], "invalid choice: 'train'"),
        (["--per-user", "values.txt"], "'per-user' needs to end in .csv or .parquet"),
        (["--per-user", "absent/a.csv"], "there is no folder absent for"),
        (["--per-user", "a.csv", "--metrics", "gini"], "'metrics' needs one that each user has"),
    ],
)
def test_refuses_in_one_line(
    args: list[str], message: str, refused: Callable[..., None], finished: Path
) -> None:
    refused(message, "evaluate", finished, *args)
