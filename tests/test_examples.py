"""Runs every example as its user would, for an epoch or two."""

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mentor_pyg.cli import run_command

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
GOLDEN = ROOT / "tests" / "parity" / "golden"
EPOCH = re.compile(r"epoch \d+: .*recall@20 \d\.\d{4}$")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small folder with images, texts and sounds."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("tiny.inter", "image_feat.npy", "text_feat.npy"):
        shutil.copy(GOLDEN / name, folder)
    return folder


def run(example: str, cwd: Path, *args: object) -> list[str]:
    """Run an example from a folder of its own; return what it printed, by lines."""
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / f"{example}.py", *map(str, args)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def check_metrics(out: Path, epochs: int, **config: Any) -> None:
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics.keys() == {"val", "test", "best_epoch", "seconds", "config"}
    for split in ("val", "test"):
        keys = {"recall@10", "recall@20", "ndcg@10", "ndcg@20"}
        assert keys <= metrics[split].keys()
        assert all(0 <= value <= 1 for value in metrics[split].values())
    assert 1 <= metrics["best_epoch"] <= epochs
    training, model = metrics["config"]["training"], metrics["config"]["model"]
    found = {**training, **model["settings"], "model": model["name"]}
    assert found.items() >= {"epochs": epochs, **config}.items()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_is_short_and_says_how_to_run_it(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < 100
    assert f"python examples/{path.name}" in (ast.get_docstring(ast.parse(text)) or "")


def test_every_example_is_run() -> None:
    source = Path(__file__).read_text()
    ways = ('run("{0}"', 'import_module("examples.{0}")')
    assert all(any(way.format(path.stem) in source for way in ways) for path in EXAMPLES)


def test_train_baby_without_data_says_that_it_is_synthetic(tmp_path: Path) -> None:
    printed = run("train_baby", tmp_path, "--epochs", 1, "--device", "cpu")
    assert "No --data given and no data/baby here" in printed[0]
    assert "SYNTHETIC" in printed[0]
    # One line per epoch, and nothing of Lightning's own.
    assert printed[2] == "writing to runs/mentor-1"
    assert [bool(EPOCH.match(line)) for line in printed[2:6]] == [False, True, False, False]
    check_metrics(tmp_path / "runs" / "mentor-1", 1, semantics="paper", model="mentor")


def test_train_baby_with_data(folder: Path, tmp_path: Path) -> None:
    options = ["--semantics", "released", "--epochs", 2, "--seed", 5, "--device", "cpu"]
    settings = json.dumps({"embedding_dim": 8})
    out = tmp_path / "out"
    printed = run(
        "train_baby", tmp_path, "--data", folder, *options, "--settings", settings, "--out", out
    )
    assert printed[:2] == [f"Reading {folder}", f"writing to {out}"]
    assert [bool(EPOCH.match(line)) for line in printed[2:5]] == [True, True, False]
    assert f"written to {out}" in printed[4]
    check_metrics(out, 2, semantics="released", seed=5, embedding_dim=8)


def test_train_tiktok(folder: Path, tmp_path: Path) -> None:
    (folder / "text_feat.npy").rename(folder / "audio_feat.npy")
    out = tmp_path / "out"
    options = ["--visual_weight", 0.25, "--epochs", 1]
    run("train_tiktok", tmp_path, "--data", folder, *options, "--out", out)
    check_metrics(out, 1, modality_weights={"visual": 0.25, "acoustic": 0.75})


def test_train_interactions(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--model", "bprmf", "--epochs", 1]
    settings = json.dumps({"reg_weight": 0.5})
    options += ["--settings", settings, "--lr", 0.25, "--out", out]
    run("train_interactions", tmp_path, "--data", folder, *options)
    check_metrics(out, 1, model="bprmf", reg_weight=0.5, lr=0.25)


def test_plain_loop(tmp_path: Path) -> None:
    printed = run("plain_loop", tmp_path, "--epochs", 1)
    assert EPOCH.match(printed[0])
    assert printed[1].startswith("recall@10 ")
    assert re.match(r"five items for users 0 and 1: \[\[\d+(, \d+){4}\], ", printed[2])


def test_your_own_model_is_short_and_trained_resumed_and_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len((ROOT / "examples" / "your_own_model.py").read_text().splitlines()) < 60
    monkeypatch.chdir(tmp_path)
    main = importlib.import_module("examples.your_own_model").main

    def printed(epochs: int) -> list[str]:
        run_command(main, ["--epochs", str(epochs), "--out", "mine"])
        return capsys.readouterr().out.splitlines()

    assert [bool(EPOCH.match(line)) for line in printed(1)[:3]] == [False, True, False]
    check_metrics(tmp_path / "mine", 1, model="content", dropout=0.3)
    longer = printed(3)
    assert [line[:7] for line in longer[1:3]] == ["epoch 2", "epoch 3"]
    assert longer[-1].startswith("five items for users 0 and 1: [[")


def test_layers_in_your_model(tmp_path: Path) -> None:
    printed = run("layers_in_your_model", tmp_path, "--epochs", 1)
    assert EPOCH.match(printed[0])
    assert printed[1].startswith("recall@10 ")


@pytest.mark.parametrize("example", ["train_interactions", "train_tiktok"])
def test_the_others_train_on_synthetic_data_too(
    example: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    main = importlib.import_module(f"examples.{example}").main
    run_command(main, ["--epochs", "1", "--device", "cpu"])
    assert capsys.readouterr().out.startswith("No --data given")


@pytest.mark.parametrize("example", ["train_baby", "train_interactions", "train_tiktok"])
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data", "absent"], "error: .*absent"),
        (["--data", "here", "--lr", "-1"], r"error: 'lr' needs to be above 0 \(got -1.0\)"),
        (["--data", "here", "--device", "tpu"], "error: 'device' needs to be"),
    ],
)
def test_input_errors_are_one_line(
    args: list[str],
    message: str,
    example: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    main = importlib.import_module(f"examples.{example}").main
    args = [str(folder) if arg == "here" else arg for arg in args]
    with pytest.raises(SystemExit) as exited:
        run_command(main, [*args, "--out", str(tmp_path / "out")])
    assert exited.value.code == 2
    assert re.fullmatch(f"{message}.*\n", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()
