import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mentor_pyg.cli.trained import open_run
from mentor_pyg.data import edge_label_index, num_users
from tests.cli.conftest import Command


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run folder of the test's own."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_refitted_model_has_seen_all_splits(finished: Path) -> None:
    _, data = open_run(finished)
    _, joined = open_run(finished / "refit")
    counts = [edge_label_index(data, split).size(1) for split in ("train", "val", "test")]
    assert edge_label_index(joined, "train").size(1) == sum(counts)


def test_scores_without_gradient(finished: Path) -> None:
    scorer, data = open_run(finished)
    assert scorer.num_users == num_users(data)
    assert not scorer.scores(edge_label_index(data, "train")[0, :1]).requires_grad


def test_the_data_may_have_moved(
    run: Path, tmp_path: Path, command: Command, refused: Callable[..., None]
) -> None:
    settings = json.loads((run / "settings.json").read_text())
    moved = shutil.copytree(settings["environment"]["data"], tmp_path / "moved")
    settings["environment"]["data"] = str(tmp_path / "gone")
    (run / "settings.json").write_text(json.dumps(settings))
    where = "or give with --data where those that .* was trained on are now"
    refused(f"no data folder .*gone; correct its path, {where}", "evaluate", run)
    assert command("evaluate", run, "--data", moved).status == 0
    # Of other data, even with the same sizes, no number is given.
    lines = (moved / "tiny.inter").read_text().splitlines(keepends=True)
    swapped = [line.replace("\t1\n", "\t?\n").replace("\t2\n", "\t1\n") for line in lines]
    (moved / "tiny.inter").write_text("".join(swapped).replace("\t?\n", "\t2\n"))
    refused(f"{moved} are not those that {run} was trained on", "evaluate", run, "--data", moved)


def test_a_run_that_does_not_remember_its_data(run: Path, refused: Callable[..., None]) -> None:
    settings = json.loads((run / "settings.json").read_text())
    del settings["environment"]["data"]
    (run / "settings.json").write_text(json.dumps(settings))
    refused("does not say where its data are; give --data", "evaluate", run)


@pytest.mark.parametrize(
    "text",
    [
        '{"model": "lightgcn", "num_layers": 3}',  # as it was before the settings were nested
        '{"model": {}, "training": {}, "data": {}, "environment": {}}',
        '{"data": {"sha256": "0"}, "environment": "cpu"}',
        "[1]",
        '{"model": ',
    ],
)
def test_refuses_settings_of_another_version(
    text: str, run: Path, refused: Callable[..., None]
) -> None:
    (run / "settings.json").write_text(text)
    refused("settings.json is damaged or not of this version .*; put", "evaluate", run)


def test_refuses_what_is_no_finished_run(run: Path, refused: Callable[..., None]) -> None:
    weights = run / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    refused("model.safetensors is not a whole safetensors file", "recommend", run, "--all")
    weights.unlink()
    run = run.rename(run.with_name("a run"))
    refused(f"not finished .*go on with it .* --out '{run}'", "evaluate", run)
    (run / "settings.json").unlink()
    refused("is no run folder .*give one that `mentor-pyg train` wrote to", "evaluate", run)
    refused("absent is no run folder", "evaluate", "absent")


def test_modalities_that_came_since_are_left_out(
    run: Path, tmp_path: Path, command: Command
) -> None:
    settings = json.loads((run / "settings.json").read_text())
    data = shutil.copytree(settings["environment"]["data"], tmp_path / "more")
    before = command("evaluate", run).out
    np.save(data / "price_feat.npy", np.random.default_rng(0).random((80, 2)))
    done = command("evaluate", run, "--data", data)
    assert (done.status, done.out) == (0, before)
