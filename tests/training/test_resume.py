import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.models import MENTOR, LightGCN
from mentor_pyg.training import RunFolder, TrainingConfig, running, train

Train = Callable[..., Any]


class Interruption:
    """Raise an exception at a call of a function, and let all others pass."""

    def __init__(self, function: Callable[..., Any], call: int, error: BaseException) -> None:
        self.function, self.call, self.error = function, call, error

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.call -= 1
        if self.call == 0:
            raise self.error
        return self.function(*args, **kwargs)


@pytest.fixture
def interrupted(run: Train, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Train until the given call of a module's function raises."""

    def train(
        data: HeteroData, out: Path, module: Any, name: str, call: int, error: Any, **changes: Any
    ) -> None:
        interruption = Interruption(getattr(module, name), call, error)
        with monkeypatch.context() as patched:
            patched.setattr(module, name, lambda *args, **kwargs: interruption(*args, **kwargs))
            with pytest.raises(error):
                run(data, out, **changes)
        assert not (out / "metrics.json").exists()

    return train


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize(
    "step",
    [
        lambda steps: 2,  # Within the first epoch, before there is a checkpoint.
        lambda steps: 4,  # At the start of an epoch.
        lambda steps: steps - 1,  # Within the last epoch, with the patience almost used up.
    ],
    ids=["first epoch", "epoch start", "last epoch"],
)
def test_resumed_run_equals_the_whole_one(
    step: Callable[[int], int],
    error: type[BaseException],
    whole: Any,
    run: Train,
    interrupted: Train,
    data: HeteroData,
    tmp_path: Path,
) -> None:
    interrupted(data, tmp_path, MENTOR, "terms", 1 + step(whole.steps), error)
    run(data, tmp_path)
    whole.assert_equals(tmp_path)


def test_resumed_twice_and_moved_meanwhile(
    whole: Any, run: Train, interrupted: Train, data: HeteroData, tmp_path: Path
) -> None:
    out = tmp_path / "first"
    interrupted(data, out, MENTOR, "terms", 6, RuntimeError)
    out = out.rename(tmp_path / "second")
    interrupted(data, out, MENTOR, "terms", whole.steps - 4, RuntimeError)
    out = out.rename(tmp_path / "third")
    run(data, out)
    whole.assert_equals(out)


def test_batches_of_users_and_softmax_resume_alike(
    run: Train, interrupted: Train, data: HeteroData, tmp_path: Path
) -> None:
    changes = {
        "model": "lightgcn",
        "settings": {"ranking_loss": "softmax", "embedding_dim": 8},
        "batches": "users",
        "batch_size": 32,  # Of 60: two steps an epoch.
        "epochs": 4,
    }
    whole = run(data, tmp_path / "whole", **changes)
    assert "train/softmax" in whole.table[0]
    interrupted(data, tmp_path / "out", LightGCN, "terms", 1 + 5, RuntimeError, **changes)
    run(data, tmp_path / "out", **changes)
    whole.assert_equals(tmp_path / "out")


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_interrupted_while_checkpoints_are_written(
    call: int, whole: Any, run: Train, interrupted: Train, data: HeteroData, tmp_path: Path
) -> None:
    interrupted(data, tmp_path, torch, "save", call, OSError)
    run(data, tmp_path)
    whole.assert_equals(tmp_path)


@pytest.mark.parametrize("epochs", [15, 2], ids=["patience", "epochs"])
def test_interrupted_after_the_last_epoch_it_does_not_train_on(
    epochs: int, run: Train, interrupted: Train, data: HeteroData, tmp_path: Path
) -> None:
    whole = run(data, tmp_path / "whole", epochs=epochs)
    out = tmp_path / "interrupted"
    interrupted(data, out, running, "save_model", 1, OSError, epochs=epochs)
    run(data, out, epochs=epochs)
    whole.assert_equals(out)


@pytest.mark.parametrize("file", ["best", "last"])
def test_nothing_is_unpickled(
    file: str, run: Train, interrupted: Train, data: HeteroData, tmp_path: Path
) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "attacked",)

    out = tmp_path / "run"
    interrupted(data, out, running, "save_model", 1, OSError, epochs=2)
    path = out / "checkpoints" / f"{file}.ckpt"
    torch.save({**torch.load(path, weights_only=True), "attack": Attack()}, path)
    with pytest.raises(ValueError, match=rf"{path} is damaged"):
        run(data, out, epochs=2)
    assert not (tmp_path / "attacked").exists()


def test_term_that_is_not_finite_leaves_the_epochs_before(
    run: Train, data: HeteroData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finite = MENTOR.terms
    last = tmp_path / "checkpoints" / "last.ckpt"

    def terms(model: MENTOR, *batch: Any) -> dict[str, torch.Tensor]:
        found = finite(model, *batch)
        if last.exists():
            found["mask"] = found["mask"] * float("inf")
        return found

    monkeypatch.setattr(MENTOR, "terms", terms)
    with pytest.raises(FloatingPointError, match="'mask' became infinite or NaN in epoch 2"):
        run(data, tmp_path)
    assert torch.load(last, weights_only=True)["counted"]["epoch"] == 1
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lr": 1.0}, "training.lr"),
        ({"settings": {"num_layers": 1}}, "model.settings.num_layers"),
        ({}, "data.sha256"),
    ],
)
def test_refuses_to_resume_another_run(
    changes: dict[str, Any],
    named: str,
    run: Train,
    interrupted: Train,
    tiny_data: HeteroData,
    tmp_path: Path,
) -> None:
    interrupted(tiny_data, tmp_path, MENTOR, "terms", 3, RuntimeError)
    if named == "data.sha256":
        tiny_data["item"].x_visual.neg_()
    message = rf"{tmp_path} holds a run with other settings \(.*'{named}'"
    if named == "data.sha256":
        message = rf"{tmp_path} holds a run on these data as they were before \(interactions or f"
    with pytest.raises(ValueError, match=message):
        run(tiny_data, tmp_path, **changes)


def test_a_run_of_another_version_says_what_changed(
    run: Train, interrupted: Train, data: HeteroData, tmp_path: Path
) -> None:
    interrupted(data, tmp_path, MENTOR, "terms", 3, RuntimeError)
    path = tmp_path / "settings.json"
    settings = json.loads(path.read_text())
    settings["environment"]["version"] = "0.0.9"
    del settings["model"]["settings"]["k"]
    settings["model"]["settings"]["neighbours"] = 7
    path.write_text(json.dumps(settings))
    message = (
        r"other settings \(\{'model.settings.neighbours': 7\}, now \{'model.settings.k': \d+\}\); "
        r"it is of version 0.0.9 of mentor_pyg, this is "
    )
    with pytest.raises(ValueError, match=message):
        run(data, tmp_path)


@pytest.mark.parametrize("change", [{"epochs": 5}, {"patience": 5, "epochs": 9}])
def test_a_finished_run_goes_on_with_more_epochs_or_patience(
    change: dict[str, int], run: Train, data: HeteroData, tmp_path: Path
) -> None:
    first = run(data, tmp_path / "out", epochs=3, patience=2)
    with pytest.raises(FileExistsError, match=r"holds a finished run .*; give more 'epochs'"):
        run(data, tmp_path / "out", epochs=3, patience=2)
    longer = {"epochs": 3, "patience": 2, **change}
    run(data, tmp_path / "out", **longer)
    whole = run(data, tmp_path / "whole", **longer)
    whole.assert_equals(tmp_path / "out")
    kept = tmp_path / "out" / "metrics-3-epochs-2-patience.json"
    assert json.loads(kept.read_text()) == first.metrics


@pytest.mark.parametrize("call", [1, 2])
def test_interrupted_around_the_refit(
    call: int,
    data: HeteroData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = TrainingConfig(epochs=3, device="cpu", batch_size=128)

    def start(out: str) -> Path:
        train("bprmf", data, tmp_path / out, config=config, refit=True)
        return tmp_path / out / "refit" / "model.safetensors"

    interruption = Interruption(RunFolder.finish, call, OSError)
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "finish", lambda *args: interruption(*args))
        with pytest.raises(OSError):
            start("interrupted")
    whole, resumed = (safetensors.torch.load_file(start(out)) for out in ("whole", "interrupted"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("file", ["last.ckpt", "best.ckpt", "settings.json"])
def test_a_damaged_file_is_named(
    file: str, run: Train, interrupted: Train, data: HeteroData, tmp_path: Path
) -> None:
    interrupted(data, tmp_path, running, "save_model", 1, OSError, epochs=2)
    (path,) = tmp_path.rglob(file)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"{}"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{path} is damaged.*; put a copy in its place"):
            run(data, tmp_path, epochs=2)
        assert path.read_bytes() == damaged
    path.write_bytes(whole)
    run(data, tmp_path, epochs=2)


def test_a_full_disk_leaves_the_epochs_before(
    whole: Any, run: Train, data: HeteroData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, calls = torch.save, []

    def full(state: Any, path: Path) -> None:
        calls.append(path)
        if len(calls) == 4:
            path.write_bytes(b"as much as there was room for")
            raise OSError(28, "No space left on device")
        save(state, path)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(OSError, match=r"\.ckpt.*[Nn]o space left") as raised:
            run(data, tmp_path)
    assert raised.value.errno == 28
    assert not list(tmp_path.rglob("*.partial*"))
    run(data, tmp_path)
    whole.assert_equals(tmp_path)


def test_another_process_in_the_folder_is_named(
    run: Train, data: HeteroData, tmp_path: Path
) -> None:
    settings = {"model": {}, "training": {}, "data": {}, "environment": {}}
    message = rf"is in use by process {os.getpid()} on .*; wait"
    with RunFolder(tmp_path, settings), pytest.raises(OSError, match=message):
        run(data, tmp_path)


@pytest.mark.parametrize(
    ("number", "error", "status"),
    [(signal.SIGTERM, SystemExit, (143,)), (signal.SIGINT, KeyboardInterrupt, ())],
)
def test_a_signal_ends_the_run_with_a_word(
    number: signal.Signals,
    error: type[BaseException],
    status: tuple[int, ...],
    whole: Any,
    run: Train,
    data: HeteroData,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "a run"

    def on_step(fit: Any, terms: Any) -> None:
        if fit.epoch == 2:
            signal.raise_signal(number)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # Ignored in the background.
    try:
        with pytest.raises(error) as raised:
            settings = {"embedding_dim": 8}
            train("mentor", data, out, settings=settings, config=whole.config, on_step=on_step)
    finally:
        signal.signal(signal.SIGINT, before)
    assert raised.value.args == status
    message = f"stopped; run the same again with --out '{out}' to go on\n"
    assert capsys.readouterr().err == message
    run(data, out)
    whole.assert_equals(out)


def test_a_thread_trains_without_touching_signals(data: HeteroData, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    config = TrainingConfig(epochs=1, device="cpu")
    thread = threading.Thread(
        target=train, args=("bprmf", data, tmp_path), kwargs={"config": config}
    )
    thread.start()
    thread.join()
    assert (tmp_path / "metrics.json").exists()
    train("bprmf", data, tmp_path / "main", config=config)
    assert signal.getsignal(signal.SIGTERM) is before
