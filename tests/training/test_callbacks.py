import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import RichProgressBar

from mentor_pyg.training import (
    EpochCheckpoint,
    EpochReport,
    EpochSeed,
    EpochTable,
    LossProgressBar,
    PatienceStopping,
)

MONITOR = "val/recall@20"


def trainer(epoch: int, recall: float = 0.5, **terms: float) -> Any:
    """Return what the callbacks look at; its checkpoints hold the epoch and what they leave out."""
    metrics = {MONITOR: torch.tensor(recall)}
    metrics |= {f"train/{name}": torch.tensor(value) for name, value in terms.items()}

    def save_checkpoint(path: Path, weights_only: bool) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{epoch} {weights_only}")

    return SimpleNamespace(
        current_epoch=epoch,
        callback_metrics=metrics,
        save_checkpoint=save_checkpoint,
        should_stop=False,
    )


def draw(seed: int, epoch: int) -> list[float]:
    EpochSeed(seed).on_train_epoch_start(trainer(epoch), None)
    return torch.rand(4).tolist()


def test_seed_is_a_function_of_seed_and_epoch() -> None:
    draws = [draw(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert draws == [draw(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(map(tuple, draws))) == 4


def test_report_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    report = EpochReport(MONITOR)
    report.on_train_epoch_end(trainer(4, 0.25, bpr=0.5, reg=1e-4), None)
    assert capsys.readouterr().out == "epoch 5: bpr 0.5000 reg 0.0001 | val/recall@20 0.2500\n"


def test_table_has_one_row_per_epoch_also_after_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "metrics.csv"
    table = EpochTable(path)
    table.on_train_epoch_end(trainer(0, 0.25, bpr=0.5), None)
    state = table.state_dict()
    state = {"rows": [dict(row) for row in state["rows"]]}
    # An epoch that was written, but interrupted before its checkpoint.
    table.on_train_epoch_end(trainer(1, 0.5, bpr=9.0), None)
    resumed = EpochTable(path)
    resumed.load_state_dict(state)
    resumed.on_train_epoch_end(trainer(1, 0.5, bpr=0.75), None)
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["epoch", "train/bpr", "val/recall@20"],
            ["1", "0.5", "0.25"],
            ["2", "0.75", "0.5"],
        ]
    assert [entry.name for entry in path.parent.iterdir()] == ["metrics.csv"]


def test_checkpoint_keeps_the_first_best_and_the_last(tmp_path: Path) -> None:
    files = tmp_path / "best.ckpt", tmp_path / "last.ckpt"
    callback = EpochCheckpoint(*files, monitor=MONITOR)
    seen = []
    for epoch, recall in enumerate([0.0, 0.5, 0.5, 0.25]):
        callback.on_train_epoch_end(trainer(epoch, recall), None)
        seen.append([file.read_text() for file in files])
    assert seen == [
        ["0 True", "0 False"],
        ["1 True", "1 False"],
        ["1 True", "2 False"],
        ["1 True", "3 False"],
    ]
    assert sorted(tmp_path.iterdir()) == sorted(files)


def test_checkpoint_goes_on_from_the_score_to_beat(tmp_path: Path) -> None:
    before = EpochCheckpoint(tmp_path / "best.ckpt", tmp_path / "last.ckpt", MONITOR)
    before.on_train_epoch_end(trainer(0, 0.5), None)
    (tmp_path / "moved").mkdir()
    best = tmp_path / "moved" / "best.ckpt"
    after = EpochCheckpoint(best, best.with_stem("last"), MONITOR)
    after.load_state_dict(before.state_dict())
    after.on_train_epoch_end(trainer(1, 0.25), None)
    assert not best.exists()
    after.on_train_epoch_end(trainer(2, 0.75), None)
    assert best.read_text() == "2 True"


@pytest.mark.parametrize(("waited", "stops"), [(0, False), (2, False), (3, True)])
def test_patience_that_is_used_up_stays_used_up(waited: int, stops: bool) -> None:
    before = PatienceStopping(MONITOR, mode="max", patience=3)
    before.wait_count = waited
    after = PatienceStopping(MONITOR, mode="max", patience=3)
    after.load_state_dict(before.state_dict())
    resumed = trainer(0)
    after.on_train_start(resumed, None)
    assert resumed.should_stop is stops


def test_progress_bar_leaves_out_the_loggers_version(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {"v_num": "board", "train/bpr": 0.3}
    monkeypatch.setattr(RichProgressBar, "get_metrics", lambda *args: shown)
    assert LossProgressBar().get_metrics(None, None) == {"train/bpr": 0.3}
