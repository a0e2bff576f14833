import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Command


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


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--k", "10,81"], r"'k' needs positive integers up to the number of items, 80"),
        (["--k", "ten"], r"'k' needs integers, such as 10,20 \(got 'ten'\)"),
        (["--metrics", "hits"], r"'metrics' needs names among \['recall'.*\(got \['hits'\]\)"),
        (["--split", "train"], "invalid choice: 'train'"),
    ],
)
def test_refuses_in_one_line(
    args: list[str], message: str, refused: Callable[..., None], finished: Path
) -> None:
    refused(message, "evaluate", finished, *args)
