import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from mentor_pyg.cli.main import main

GOLDEN = Path(__file__).parents[1] / "parity" / "golden"
SMALL = ("--settings.embedding_dim", "8", "--training.k", "[5,10]", "--training.device", "cpu")


class Done(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``mentor-pyg`` with the arguments, in this process."""

    def command(*args: object) -> Done:
        status = 0
        capsys.readouterr()
        try:
            main([str(arg) for arg in args])
        except SystemExit as exited:
            status = int(exited.code or 0)
        return Done(status, *capsys.readouterr())

    return command


@pytest.fixture
def refused(command: Command) -> Callable[..., None]:
    """Check that a command ends with status 2, and one line on stderr that matches."""

    def refused(message: str, *args: object) -> None:
        done = command(*args)
        assert done.status == 2
        assert re.fullmatch(f"error: .*{message}.*\n", done.err), done.err

    return refused


def copy_folder(folder: Path) -> Path:
    """Put a small dataset with images and texts into a new folder."""
    folder.mkdir()
    for name in ("tiny.inter", "image_feat.npy", "text_feat.npy"):
        shutil.copy(GOLDEN / name, folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder of the test's own."""
    return copy_folder(tmp_path / "data")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with a refitted model, beside the folder ``data`` that it was trained on."""
    place = tmp_path_factory.mktemp("finished")
    args = ["train", "--model", "lightgcn", "--data", str(copy_folder(place / "data")), "--refit"]
    main([*args, "--out", str(place / "run"), "--training.epochs", "2", *SMALL])
    return place / "run"
