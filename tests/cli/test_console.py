import argparse
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mentor_pyg import dependencies
from mentor_pyg.cli import new_folder, run_command, summarize
from mentor_pyg.cli.console import reported


def command(data: Path, epochs: int = 3) -> None:
    """Do something.

    Args:
        data: A folder.
        epochs: How long.
    """
    if epochs == 0:
        raise RuntimeError("a bug")
    if epochs == 1:
        raise KeyboardInterrupt
    if epochs < 0:
        raise FloatingPointError("the loss became nan")
    if not data.exists():
        raise FileNotFoundError(f"{data} does not exist")
    if epochs > 9:
        raise ValueError(f"'epochs' is {epochs},\n  too many")
    print(epochs)


def test_names_the_extra_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "has_package", lambda name: name != "jsonargparse")
    message = r"A command line needs the package 'jsonargparse'.*pip install '\.\[train\]'"
    with pytest.raises(ImportError, match=message):
        run_command(command, [])


def test_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_command(command, ["--data", str(tmp_path), "--epochs", "2"])
    assert capsys.readouterr().out == "2\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data", "absent"], "error: absent does not exist\n"),
        (["--data", ".", "--epochs", "10"], "error: 'epochs' is 10, too many\n"),
        (["--data", ".", "--epochs", "-1"], "error: the loss became nan\n"),
    ],
)
def test_input_errors(args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        run_command(command, args)
    assert exited.value.code == 2
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("args", [[], ["--data", ".", "--epochs", "x"], ["--dta", "."]])
def test_wrong_arguments(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        run_command(command, args)
    assert exited.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


def test_bugs_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        run_command(command, ["--data", ".", "--epochs", "0"])


def test_ctrl_c_is_status_130() -> None:
    with pytest.raises(SystemExit) as exited:
        run_command(command, ["--data", ".", "--epochs", "1"])
    assert exited.value.code == 130


def test_sigterm_ends_a_block_as_ctrl_c_does() -> None:
    before, cleaned = signal.getsignal(signal.SIGTERM), False
    with pytest.raises(SystemExit) as exited, reported():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            cleaned = True
    assert exited.value.code == 143 and cleaned
    assert signal.getsignal(signal.SIGTERM) is before


def test_errors_of_the_parser_are_input_errors() -> None:
    with pytest.raises(SystemExit), reported():
        raise argparse.ArgumentError(None, "no such option")


def test_nobody_reading_on_is_no_error() -> None:
    code = "from mentor_pyg.cli.console import reported\n"
    code += "with reported():\n  [print('x' * 99, flush=True) for _ in range(9999)]"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_summarize() -> None:
    metrics = {
        "val": {"recall@10": 0.5, "ndcg@20": 0.123456},
        "test": {"recall@10": 1.0, "ndcg@20": 0.0},
        "best_epoch": 7,
        "seconds": 61.7,
        "config": {},
    }
    table = summarize(metrics, "runs/one").splitlines()
    assert table == [
        "best epoch 7, chosen on validation, after 62 s; written to runs/one",
        "                 val    test",
        "recall@10     0.5000  1.0000",
        "ndcg@20       0.1235  0.0000",
    ]
    # A model without epochs.
    first, *others = summarize({**metrics, "best_epoch": 0}, "runs/one").splitlines()
    assert (first, others) == ("after 62 s; written to runs/one", table[1:])


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        run_command(command, ["--help"])
    assert exited.value.code == 0
    assert "How long. (type: int, default: 3)" in capsys.readouterr().out


def test_new_folder(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert new_folder(runs, "baby") == runs / "baby-1"
    (runs / "baby-2").mkdir()
    (runs / "other-3").mkdir()
    assert new_folder(str(runs), "baby") == runs / "baby-3"
    assert (runs / "baby-3").is_dir()


def take(runs: Path, barrier: Any, taken: Any) -> None:
    barrier.wait()
    taken.extend([str(new_folder(runs, "run")) for _ in range(20)])


def test_processes_that_start_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager:
        taken, barrier = manager.list(), manager.Barrier(3)
        processes = [
            context.Process(target=take, args=(tmp_path, barrier, taken)) for _ in range(3)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert len(taken) == len(set(taken)) == 60
