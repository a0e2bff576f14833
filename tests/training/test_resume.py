import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.models import MENTOR

# The package's `train` is the function.
module_of_train = importlib.import_module("mentor_pyg.training.train")
module_of_callbacks = importlib.import_module("mentor_pyg.training.callbacks")

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
            # Lightning turns Ctrl+C into an exit.
            with pytest.raises(SystemExit if error is KeyboardInterrupt else error):
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
    interrupted(data, tmp_path, MENTOR, "loss", step(whole.steps), error)
    run(data, tmp_path)
    whole.assert_equals(tmp_path)


def test_resumed_twice_and_moved_meanwhile(
    whole: Any, run: Train, interrupted: Train, data: HeteroData, tmp_path: Path
) -> None:
    out = tmp_path / "first"
    interrupted(data, out, MENTOR, "loss", 5, RuntimeError)
    out = out.rename(tmp_path / "second")
    interrupted(data, out, MENTOR, "loss", whole.steps - 4, RuntimeError)
    out = out.rename(tmp_path / "third")
    run(data, out)
    whole.assert_equals(out)


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_interrupted_while_checkpoints_are_written(
    call: int, whole: Any, run: Train, interrupted: Train, data: HeteroData, tmp_path: Path
) -> None:
    interrupted(data, tmp_path, module_of_callbacks, "_save", call, OSError)
    run(data, tmp_path)
    whole.assert_equals(tmp_path)


@pytest.mark.parametrize("epochs", [15, 2], ids=["patience", "epochs"])
def test_interrupted_after_the_last_epoch_it_does_not_train_on(
    epochs: int, run: Train, interrupted: Train, data: HeteroData, tmp_path: Path
) -> None:
    whole = run(data, tmp_path / "whole", epochs=epochs)
    out = tmp_path / "interrupted"
    interrupted(data, out, module_of_train, "save_model", 1, OSError, epochs=epochs)
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
    interrupted(data, out, module_of_train, "save_model", 1, OSError, epochs=2)
    path = out / "checkpoints" / f"{file}.ckpt"
    torch.save({**torch.load(path, weights_only=True), "attack": Attack()}, path)
    with pytest.raises(Exception, match="Weights only load failed"):
        run(data, out, epochs=2)
    assert not (tmp_path / "attacked").exists()


def test_term_that_is_not_finite_leaves_the_epochs_before(
    run: Train, data: HeteroData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finite = MENTOR.loss
    last = tmp_path / "checkpoints" / "last.ckpt"

    def loss(model: MENTOR, *batch: Any) -> dict[str, torch.Tensor]:
        terms = finite(model, *batch)
        if last.exists():
            terms["mask"] = terms["mask"] * float("inf")
        return terms

    monkeypatch.setattr(MENTOR, "loss", loss)
    with pytest.raises(FloatingPointError, match="'mask' became infinite or NaN in epoch 2"):
        run(data, tmp_path)
    assert torch.load(last, weights_only=True)["epoch"] == 0
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"lr": 1.0}, "lr"), ({"settings": {"num_layers": 1}}, "num_layers"), ({}, "data")],
)
def test_refuses_to_resume_another_run(
    changes: dict[str, Any],
    named: str,
    run: Train,
    interrupted: Train,
    tiny_data: HeteroData,
    tmp_path: Path,
) -> None:
    interrupted(tiny_data, tmp_path, MENTOR, "loss", 2, RuntimeError)
    if named == "data":
        tiny_data["item"].x_visual.neg_()
    message = rf"{tmp_path} holds an unfinished run with other settings \(.*'{named}'"
    with pytest.raises(ValueError, match=message):
        run(tiny_data, tmp_path, **changes)
