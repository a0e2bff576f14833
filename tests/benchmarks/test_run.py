"""The command, as its user runs it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import run
import torch
from cases import Case, Setting, Work
from suites import SUITES
from workers import measure_all

ROW = {
    "suite": "knn",
    "case": "made up",
    "backend": "auto",
    "status": "cannot run",
    "reason": "because",
}


def test_main_measures_in_processes_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["--size", "tiny", "--suites", "negatives", "--repeats", "1", "--threads", "1"]
    assert run.main([*options, "--out", str(out), "--no-figures"]) == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["machine"].keys() >= {"cpu", "cores", "threads", "torch", "commit", "date"}
    assert report["dataset"]["users"] == 60
    assert report["peaks"].keys() == {"ieee", "bf16", "copy"}
    assert {row["suite"] for row in report["rows"]} == {"machine", "negatives"}
    assert {row["status"] for row in report["rows"]} == {"ok"}
    table = (tmp_path / "out.md").read_text()
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(report["rows"])
    assert "| negatives | a batch of 2048 | UniformNegativeSampler |" in table
    assert not list(tmp_path.glob("*.png"))


def die(setting: Setting) -> Work:
    import os

    os._exit(3)


def test_a_process_that_dies_is_a_row(setting: Setting) -> None:
    case = Case("knn", "made up", "auto", die)
    (row,) = measure_all([case], setting)
    assert row["status"] == "failed"
    assert "ended with 3" in row["reason"]


def test_what_cannot_run_needs_no_process(setting: Setting) -> None:
    case = Case("knn", "made up", "auto", die, cannot_run="no such device")
    (row,) = measure_all([case], setting)
    assert (row["status"], row["reason"]) == ("cannot run", "no such device")


@pytest.mark.parametrize(("status", "code"), [("wrong", 1), ("failed", 1), ("cannot run", 0)])
def test_the_exit_status_tells_of_wrong_results(
    status: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(cases: list[Case], setting: Setting) -> Iterator[dict[str, Any]]:
        names = {"suite": "knn", "case": "made up", "backend": "auto"}
        yield {**names, "status": status, "reason": "because"}

    monkeypatch.setattr(run, "measure_all", rows)
    assert run.main(["--size", "tiny", "--suites", "knn"]) == code
    assert ("made up" in capsys.readouterr().err) == (code == 1)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--threads", "0"], "--threads needs to be at least 1"),
        (["--epoch-steps", "-1"], "--epoch-steps needs to be at least 0"),
        (["--profile", "x", "--suites", "knn"], "add 'step' to --suites"),
        pytest.param(
            ["--device", "cuda"],
            "torch sees no CUDA device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_options_that_cannot_be_met_are_refused(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run.main(args)
    assert message in capsys.readouterr().err


def test_without_matplotlib_there_are_no_figures_and_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mentor_pyg.dependencies.has_package", lambda name: False)
    monkeypatch.setattr(run, "measure_all", lambda cases, setting: iter([ROW]))
    assert run.main(["--size", "tiny", "--suites", "knn", "--out", str(tmp_path / "out")]) == 0
    assert "pip install '.[bench]'" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"out.json", "out.md"}


def test_what_was_measured_is_there_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(cases: list[Case], setting: Setting) -> Iterator[dict[str, Any]]:
        yield ROW
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "measure_all", rows)
    with pytest.raises(KeyboardInterrupt):
        run.main(["--size", "tiny", "--suites", "knn", "--out", str(tmp_path / "out")])
    assert json.loads((tmp_path / "out.json").read_text())["rows"] == [ROW]


def test_suites_are_those_promised() -> None:
    promised = "machine propagate infonce softmax knn negatives ranking step epoch scaling"
    assert list(SUITES) == promised.split()
