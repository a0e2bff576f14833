import json
from pathlib import Path

import pytest

from mentor_pyg.training import RunFolder, next_free_folder

SETTINGS = {"model": "mentor", "lr": 0.1, "k": (10, 20)}


def test_new_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "one", SETTINGS)
    assert [path.name for path in folder.path.iterdir()] == ["settings.json"]
    assert json.loads(folder.settings.read_text()) == {**SETTINGS, "k": [10, 20]}
    assert folder.settings.parent == folder.metrics.parent == folder.weights.parent == folder.path


def test_unfinished_run_of_the_same_settings_is_opened(tmp_path: Path) -> None:
    RunFolder(tmp_path, SETTINGS).weights.touch()
    assert RunFolder(str(tmp_path), dict(reversed(SETTINGS.items()))).weights.exists()


def test_finish(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, SETTINGS)
    folder.finish({"best_epoch": 3})
    assert json.loads(folder.metrics.read_text()) == {"best_epoch": 3}
    assert not list(tmp_path.glob("*.partial"))
    with pytest.raises(FileExistsError, match=rf"{tmp_path} holds a finished run"):
        RunFolder(tmp_path, SETTINGS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"lr": 0.2}, r"\({'lr': 0.1}, now {'lr': 0.2}\)"),
        ({"seed": 1}, r"\({'seed': None}, now {'seed': 1}\)"),
        ({"k": (10,)}, r"\({'k': \[10, 20\]}, now {'k': \[10\]}\)"),
    ],
)
def test_other_settings(changed: dict[str, object], message: str, tmp_path: Path) -> None:
    RunFolder(tmp_path, SETTINGS)
    with pytest.raises(ValueError, match=f"{tmp_path} holds an unfinished run .*{message}"):
        RunFolder(tmp_path, SETTINGS | changed)
    RunFolder(tmp_path, SETTINGS)  # What was there is as it was.


def test_another_choice_of_auto_can_be_asked_for_by_name(tmp_path: Path) -> None:
    RunFolder(tmp_path, SETTINGS | {"backend": "auto", "backend_run": "torch_csr"})
    with pytest.raises(ValueError, match=r"backend can be asked for by name: backend='torch_csr'"):
        RunFolder(tmp_path, SETTINGS | {"backend": "auto", "backend_run": "native"})
    RunFolder(tmp_path, SETTINGS | {"backend": "torch_csr", "backend_run": "torch_csr"})


def test_a_backend_without_what_ran_is_a_setting_like_others(tmp_path: Path) -> None:
    RunFolder(tmp_path, SETTINGS | {"backend": "auto"})
    with pytest.raises(ValueError, match="'backend': 'auto'"):
        RunFolder(tmp_path, SETTINGS | {"backend": "naive"})


def test_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("mine")
    with pytest.raises(FileExistsError, match=rf"{tmp_path} holds .'model.safetensors'., which"):
        RunFolder(tmp_path, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_files_that_are_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "console.log").write_text("mine")
    RunFolder(tmp_path, SETTINGS)
    assert (tmp_path / "console.log").read_text() == "mine"


@pytest.mark.parametrize("path", ["file", "file/below", "file/below/it"])
def test_folder_that_cannot_be_written_to(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match=rf"cannot write to the output folder {tmp_path / path}: .+;"):
        RunFolder(tmp_path / path, SETTINGS)


def test_next_free_folder(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert next_free_folder(runs, "baby") == runs / "baby-1"
    for taken in ("baby-1", "baby-2", "other-3"):
        (runs / taken).mkdir(parents=True)
    assert next_free_folder(str(runs), "baby") == runs / "baby-3"
