import json
from pathlib import Path
from typing import Any

import pytest

from mentor_pyg.training import RunFolder

SETTINGS: dict[str, Any] = {
    "model": {"name": "mentor", "settings": {"k": 10, "lr": 0.5}},
    "training": {"lr": 0.1, "k": [10, 20], "epochs": 10, "patience": 2},
    "data": {"sha256": "0"},
    "environment": {"torch": "1"},
}


def changed(part: str, **values: Any) -> dict[str, Any]:
    return {**SETTINGS, part: {**SETTINGS[part], **values}}


def test_new_folder_of_a_run(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "runs" / "one", SETTINGS) as folder:
        written = {path.name for path in folder.path.iterdir()}
        assert written == {"settings.json", "run.lock"}
        assert json.loads(folder.settings.read_text()) == SETTINGS


def test_unfinished_run_of_the_same_settings_is_opened(tmp_path: Path) -> None:
    with RunFolder(tmp_path, SETTINGS) as folder:
        folder.weights.touch()
    with RunFolder(str(tmp_path), changed("environment", torch="2")) as folder:
        assert folder.weights.exists()
    with RunFolder(tmp_path, changed("training", epochs=5)):
        pass


def test_finish(tmp_path: Path) -> None:
    with RunFolder(tmp_path, SETTINGS) as folder:
        folder.finish({"best_epoch": 3})
    assert json.loads(folder.metrics.read_text()) == {"best_epoch": 3}
    for same in (SETTINGS, changed("training", epochs=9), changed("environment", torch="2")):
        with pytest.raises(FileExistsError, match=rf"{tmp_path} holds a finished run"):
            RunFolder(tmp_path, same).__enter__()
    with RunFolder(tmp_path, changed("training", epochs=11)) as folder:
        assert not folder.metrics.exists()
    kept = tmp_path / "metrics-10-epochs-2-patience.json"
    assert json.loads(kept.read_text()) == {"best_epoch": 3}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (changed("training", lr=0.2), r"\({'training.lr': 0.1}, now {'training.lr': 0.2}\)"),
        (changed("training", seed=1), r"\({}, now {'training.seed': 1}\)"),
        (changed("training", k=[10]), r"'training.k': \[10, 20\]}, now {'training.k': \[10\]}"),
        (changed("model", settings={"k": 5, "lr": 0.5}), r"{'model.settings.k': 10}, now"),
        (changed("data", sha256="1", num_items=9), r"{'data.sha256': '0'}, now {'data.num_items'"),
    ],
)
def test_other_settings(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with RunFolder(tmp_path, SETTINGS):
        pass
    before = (tmp_path / "settings.json").read_text()
    with pytest.raises(ValueError, match=f"{tmp_path} holds a run with other .*{message}"):
        RunFolder(tmp_path, settings).__enter__()
    assert (tmp_path / "settings.json").read_text() == before
    with RunFolder(tmp_path, SETTINGS):  # The lock was given back.
        pass


def test_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("mine")
    with pytest.raises(FileExistsError, match=rf"{tmp_path} holds .'model.safetensors'., which"):
        RunFolder(tmp_path, SETTINGS).__enter__()
    assert (tmp_path / "model.safetensors").read_text() == "mine"
    (tmp_path / "model.safetensors").rename(tmp_path / "console.log")
    with RunFolder(tmp_path, SETTINGS):  # In nobody's way.
        assert (tmp_path / "console.log").read_text() == "mine"


@pytest.mark.parametrize("path", ["file", "file/below", "file/below/it"])
def test_folder_that_cannot_be_written_to(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match=rf"cannot write to the output folder {tmp_path / path}: .+;"):
        RunFolder(tmp_path / path, SETTINGS).__enter__()


def test_data_that_changed_are_told_by_their_modalities(tmp_path: Path) -> None:
    settings = changed("environment", modalities=["visual"])
    with RunFolder(tmp_path / "older", SETTINGS):
        pass
    with RunFolder(tmp_path, settings):
        pass
    now = changed("data", sha256="1") | changed("environment", modalities=["visual", "price"])
    now["data"] = {"sha256": "1"}
    with pytest.raises(ValueError, match=r"were \['visual'\], now \['visual', 'price'\]"):
        RunFolder(tmp_path, now).__enter__()
    with pytest.raises(ValueError, match=r"before \(interactions or features\); it is of version"):
        RunFolder(tmp_path / "older", now).__enter__()


def test_a_data_folder_gets_no_run(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "notes", SETTINGS) as folder:
        (folder.path / "draft.interim.md").touch()
    with RunFolder(tmp_path / "notes", SETTINGS):
        pass
    (tmp_path / "shop.inter").touch()
    with pytest.raises(FileExistsError, match=rf"output folder {tmp_path}: it is a data folder;"):
        RunFolder(tmp_path, SETTINGS).__enter__()
    assert {path.name for path in tmp_path.iterdir()} == {"shop.inter", "notes"}
