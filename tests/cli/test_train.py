import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import mentor_pyg.training
from mentor_pyg.cli import run_training
from mentor_pyg.models import MODELS, LightGCNConfig
from mentor_pyg.training import TrainingConfig
from tests.cli.conftest import SMALL, Command
from tests.models.outsiders import MetricMF

ROOT = Path(__file__).parents[2]


def settings_in(run: Path) -> Any:
    return json.loads((run / "settings.json").read_text())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_trains_and_says_what_came_of_it(command: Command, folder: Path) -> None:
    args = ["--data", "data", "--training.epochs", 1, "--settings.modality_weights.visual", 1]
    done = command("train", "--model", "mentor", *args,
                   "--settings.modality_weights.textual", 2, "--settings.align_levels",
                   "[id_fused]", *SMALL)  # fmt: skip
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[:2] == ["Reading data", "writing to runs/mentor-1"]
    assert lines[3].startswith("best epoch 1, chosen on validation, after ")
    assert lines[5].startswith("recall@5 ")
    settings = settings_in(Path("runs/mentor-1"))
    assert settings["environment"]["data"] == str(folder)
    assert settings["training"]["k"] == [5, 10]
    chosen = settings["model"]["settings"]
    assert chosen["modality_weights"] == {"visual": 1.0, "textual": 2.0}
    assert chosen["align_levels"] == ["id_fused"]


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_model_trains_by_its_name(model: str, command: Command, folder: Path) -> None:
    done = command("train", "--model", model, "--data", folder, "--training.epochs", 1, "--out",
                   "out", "--training.device", "cpu")  # fmt: skip
    assert (done.status, done.err) == (0, "")
    assert command("recommend", "out", "--user", 7, "--k", 3).out.count("\n") == 4


def test_without_data_it_says_that_they_are_synthetic(command: Command) -> None:
    done = command("train", "--model", "bprmf", "--out", "out", "--training.epochs", 1, *SMALL)
    assert "No --data given: training on the built-in SYNTHETIC set." in done.out
    assert settings_in(Path("out"))["environment"]["data"] == "synthetic"
    # The evaluation makes it again.
    reported = done.out.split("recall@5")[1].split()[1]
    assert command("evaluate", "out", "--k", 5, "--metrics", "recall").out.split()[1] == reported


def test_trains_models_from_outside(command: Command, folder: Path) -> None:
    args = ["--model", MetricMF.name, "--data", folder, "--out", "out", "--training.epochs", 1]
    assert command("train", *args, *SMALL).status == 0
    assert command("recommend", "out", "--user", 3, "--k", 2).out.count("\n") == 3


def test_options_come_before_files_and_files_before_defaults(command: Command) -> None:
    Path("mine.yaml").write_text(
        "model: lightgcn\nsettings: {num_layers: 2, reg_weight: 1e-2}\ntraining: {epochs: 7}\n"
    )
    args = ["--config", "mine.yaml", "--settings.num_layers", 1, "--print_config"]
    printed = yaml.safe_load(command("train", *args).out)
    assert printed["model"] == "lightgcn"
    expected = LightGCNConfig(num_layers=1, reg_weight=0.01)
    assert printed["settings"] == expected.to_dict()
    assert printed["training"] == {**TrainingConfig(epochs=7).to_dict(), "k": [10, 20]}


@pytest.mark.parametrize("config", ["lightgcn-baby", "mentor-tiktok"])
def test_what_it_prints_is_a_config(config: str, command: Command) -> None:
    printed = command("train", "--config", config, "--print_config").out
    Path("printed.yaml").write_text(printed)
    assert command("train", "--config=printed.yaml", "--print_config").out == printed


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], r"'model' needs to be one of \['.*'lightgcn'"),
        (["--model", "nope"], r"'model' needs to be one of \['.*'lightgcn'.*\(got 'nope'\)"),
        (["--config", "nope"], r"'config' needs to be a YAML file, or .*'lightgcn-baby'.*'nope'"),
        (["--config", "list.yaml"], "list.yaml needs to be a mapping of options"),
        (["--config", "broken.yaml"], "broken.yaml is no YAML file"),
        (
            ["--config", "typo.yaml"],
            r"has no settings \['layers'\]; it has \[.*'layers' may be 'num_layers'",
        ),
        (["--config", "part.yaml"], "'train' does not accept option 'setings"),
        (["--config", "models.yaml"], r"models.yaml: 'model' needs to be a name \(got \['men"),
        (["--config", "number.yaml"], r"number.yaml: 'training' needs to be a mapping \(got 3\)"),
        (["--config", "words.yaml"], r"words.yaml: 'settings' needs to be a mapping \(got \['e"),
        (["--config", "keys.yaml"], r"LightGCNConfig has no settings \['True', 'foo'\]"),
        (["--config", "again.yaml"], "again.yaml has 'training' twice .* again in line 3"),
        *(
            (
                ["--config", f"refit-{value}.yaml"],
                rf"'refit' needs to be true or false \(got {value}",
            )
            for value in ("'no way'", "3", "None")
        ),
        (["--model", "lightgcn", "--settings.layers=3"], r"no settings \['layers'\]; it has \["),
        (["--model", "bprmf", "--settings.num_layers", "3"], r"BPRMFConfig has no settings"),
        (
            ["--model", "bprmf", "--training.rate", "3"],
            r"TrainingConfig has no settings \['rate'\]",
        ),
        (["--model", "bprmf", "--training.lr", "x"], "'training.lr': Expected a float"),
        (["--model", "bprmf", "--training.lr", "-1"], r"'lr' needs to be above 0 \(got -1.0\)"),
        (["--model", "bprmf", "--data", "absent"], "no data folder .*absent; correct its path"),
        (["--model", "bprmf", "--training.k", "[999]"], "'k' needs positive integers up to .* 80"),
    ],
)
def test_refuses_in_one_line_and_leaves_nothing(
    args: list[str], message: str, refused: Callable[..., None], folder: Path
) -> None:
    Path("list.yaml").write_text("- model\n")
    Path("broken.yaml").write_text("model: [\n")
    Path("typo.yaml").write_text("model: lightgcn\nsettings: {layers: 3}\n")
    Path("part.yaml").write_text("model: lightgcn\nsetings: {num_layers: 3}\n")
    Path("models.yaml").write_text("model: [mentor]\n")
    Path("number.yaml").write_text("model: bprmf\ntraining: 3\n")
    Path("words.yaml").write_text("model: bprmf\nsettings: [embedding_dim]\n")
    Path("keys.yaml").write_text("model: lightgcn\nsettings: {on: 2, foo: 3}\n")
    Path("again.yaml").write_text("model: bprmf\ntraining: {epochs: 1}\ntraining: {epochs: 2}\n")
    for value in ("'no way'", "3", "None"):
        text = f"model: bprmf\nrefit: {value.replace('None', 'null')}\n"
        Path(f"refit-{value}.yaml").write_text(text)
    data = [] if "--data" in args else ["--data", str(folder)]
    refused(message, "train", *args, *data)
    assert not list(Path().glob("runs/*"))


def test_goes_on_with_a_run(command: Command, folder: Path, refused: Callable[..., None]) -> None:
    args = ["train", "--model", "bprmf", "--data", folder, "--out", "out", *SMALL]
    command(*args, "--training.epochs", 1)
    refused("holds a finished run", *args, "--training.epochs", 1)
    refused("with other settings", *args, "--training.epochs", 2, "--training.seed", 1)
    done = command(*args, "--training.epochs", 2)
    assert [line[:7] for line in done.out.splitlines() if line.startswith("epoch")] == ["epoch 2"]


def test_refits(finished: Path) -> None:
    refitted = settings_in(finished / "refit")
    assert refitted["environment"]["data"] == str(finished.parent / "data")


def test_ctrl_c_is_status_130(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mentor_pyg.training, "train", interrupted)
    assert command("train", "--model", "bprmf", "--data", folder).status == 130


def test_sigterm_is_status_143_and_the_same_command_goes_on(command: Command, folder: Path) -> None:
    args = ["train", "--model", "bprmf", "--data", str(folder), "--out", "out", *SMALL]
    args += ["--training.patience", "99999"]
    with subprocess.Popen(
        [sys.executable, "-m", "mentor_pyg", *args, "--training.epochs", "99999"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        while not process.stdout.readline().startswith("epoch 2:"):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        said = process.stderr.read()
    assert (process.returncode, said) == (
        143,
        "stopped; run the same again with --out out to go on\n",
    )
    rows = (Path("out") / "logs" / "csv" / "metrics.csv").read_text().count("\n") - 1
    done = command(*args, "--training.epochs", rows + 1)
    assert done.status == 0
    assert f"epoch {rows + 1}:" in done.out and f"epoch {rows}:" not in done.out


def test_examples_may_look_for_their_usual_data(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = {"epochs": 1, "k": [5], "device": "cpu"}
    run_training("bprmf", None, Path("out"), {}, training, usual=folder)
    assert capsys.readouterr().out.startswith(f"Reading {folder}\n")
    run_training("bprmf", None, Path("other"), {}, training, usual=Path("absent"))
    assert capsys.readouterr().out.startswith("No --data given and no absent here: training on")
