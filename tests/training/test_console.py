from pathlib import Path

import pytest

from mentor_pyg import dependencies
from mentor_pyg.training import run_command


def command(data: Path, epochs: int = 3) -> None:
    """Do something.

    Args:
        data: A folder.
        epochs: How long.
    """
    if epochs == 0:
        raise RuntimeError("a bug")
    if epochs < 0:
        raise FloatingPointError("the loss became nan")
    if not data.exists():
        raise FileNotFoundError(f"{data} does not exist")
    if epochs > 9:
        raise ValueError(f"'epochs' is {epochs}")
    print(epochs)


def test_names_the_extra_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "has_package", lambda name: name != "jsonargparse")
    message = r"A command line needs the package 'jsonargparse'.*'mentor_pyg\[train\]'"
    with pytest.raises(ImportError, match=message):
        run_command(command, [])


def test_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_command(command, ["--data", str(tmp_path), "--epochs", "2"])
    assert capsys.readouterr().out == "2\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data", "absent"], "error: absent does not exist\n"),
        (["--data", ".", "--epochs", "10"], "error: 'epochs' is 10\n"),
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
    assert "error: " in capsys.readouterr().err


def test_bugs_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        run_command(command, ["--data", ".", "--epochs", "0"])


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        run_command(command, ["--help"])
    assert exited.value.code == 0
    assert "How long. (type: int, default: 3)" in capsys.readouterr().out
