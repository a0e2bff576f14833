"""What is wrong is said before any training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, REV_INTERACTS
from mentor_pyg.dependencies import UnavailableError
from mentor_pyg.models import MENTOR, MMSSL, Recommender
from mentor_pyg.training import TrainingConfig, running, train

Train = Callable[..., Any]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.0}, r"'lr' needs to be above 0 \(got 0.0\)"),
        ({"lr": "fast"}, r"'lr' needs to be of type float \(got 'fast'\)"),
        ({"lr": float("inf")}, r"'lr' needs to be finite \(got inf\)"),
        ({"lr": float("nan")}, r"'lr' needs to be finite \(got nan\)"),
        ({"epochs": 0}, r"'epochs' needs to be at least 1 \(got 0\)"),
        ({"patience": 0}, r"'patience' needs to be at least 1 \(got 0\)"),
        ({"batch_size": -1}, r"'batch_size' needs to be at least 1 \(got -1\)"),
        ({"batches": "items"}, r"'batches' needs to be one of .*'users'\] \(got 'items'\)"),
        ({"seed": -1}, r"'seed' needs to be in \[0, .*\) \(got -1\)"),
        ({"seed": 2**63}, r"'seed' needs to be in \[0, .*\) \(got 9223372036854775808\)"),
        ({"epochs": 2.5}, r"'epochs' needs to be of type int \(got 2.5\)"),
        ({"k": ()}, r"'k' needs at least one length of ranking"),
        ({"k": 20}, r"'k' needs to be of type list \(got 20\)"),
        ({"k": (10, 0)}, r"'k\[1\]' needs to be at least 1 \(got 0\)"),
        ({"device": "tpu"}, r"'device' needs to be 'auto', .* \(got 'tpu'\)"),
        ({"device": "cpu:0"}, r"'device' needs to be .* \(got 'cpu:0'\)"),
        ({"device": "cuda:first"}, r"'device' needs to be .* \(got 'cuda:first'\)"),
    ],
)
def test_refuses_configs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**changes)


def test_a_cuda_graph_needs_batches_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr("mentor_pyg.training.config.resolve_device", lambda _: cuda)
    assert TrainingConfig(cuda_graph=True).cuda_graph
    with pytest.raises(ValueError, match="'cuda_graph' needs batches of one size"):
        TrainingConfig(cuda_graph=True, batches="users")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            MENTOR,
            "mentor with these settings does not have; give contrast='full', or leave it out$",
        ),
        (MMSSL, "mmssl with these settings does not have; leave it out$"),
    ],
)
def test_a_cuda_graph_needs_one_loss_of_static_shapes(
    model: type[Recommender], message: str, data: HeteroData, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr("mentor_pyg.training.config.resolve_device", lambda _: cuda)
    config = TrainingConfig(cuda_graph=True)
    settings = {"contrast": "batch"} if model is MENTOR else {}
    made = model.from_data(data, model.Config.from_dict(settings))
    with pytest.raises(ValueError, match=message):
        running._try(made, made.prepare(data), data, config)


@pytest.mark.parametrize("seed", [2**45, 2**63 - 1])
def test_a_large_seed_trains(seed: int, run: Train, data: HeteroData, tmp_path: Path) -> None:
    assert run(data, tmp_path, "bprmf", seed=seed, epochs=2).metrics["best_epoch"] >= 1


def without(store: Any, key: str) -> Callable[[HeteroData], None]:
    return lambda data: delattr(data[store], key)


def empty_validation(data: HeteroData) -> None:
    data[INTERACTS].val_edge_label_index = torch.empty(2, 0, dtype=torch.long)


def cold_in_test(data: HeteroData) -> None:
    store = data[INTERACTS]
    user = store.test_edge_label_index[0]
    for name in ("edge_index", "val_edge_label_index"):
        store[name] = store[name][:, ~torch.isin(store[name][0], user[:5])]
    store.test_edge_label_index = store.test_edge_label_index[:, torch.isin(user, user[:5])]
    data[REV_INTERACTS].edge_index = store.edge_index.flip(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(INTERACTS, "val_edge_label_index"), "has no 'val_edge_label_index'"),
        (without(INTERACTS, "test_edge_label_index"), "has no 'test_edge_label_index'"),
        (without(INTERACTS, "edge_index"), "edge_index is missing"),
        (empty_validation, "no user of the val split"),
        (cold_in_test, "test split has no interactions of users with train interactions"),
    ],
)
def test_refuses_data(
    change: Callable[[HeteroData], None],
    message: str,
    run: Train,
    tiny_data: HeteroData,
    tmp_path: Path,
) -> None:
    change(tiny_data)
    with pytest.raises(ValueError, match=message):
        run(tiny_data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "nope"}, r"'model' needs to be one of .* \(got 'nope'\)"),
        ({"settings": {"layers": 3}}, r"MENTORConfig has no settings \['layers'\]; it has"),
        ({"settings": {"semantics": "both"}}, r"'semantics' needs to be .* \(got 'both'\)"),
        ({"settings": {"backend": "magic"}}, r"'backend' .*'magic'"),
        ({"settings": {"align_levels": ["all"]}}, "'all'"),
        ({"k": (10, 81)}, r"'k' needs positive integers up to the number of items, 80"),
    ],
)
def test_refuses_settings(
    changes: dict[str, Any], message: str, run: Train, data: HeteroData, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        run(data, tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_refuses_what_cannot_run_here(run: Train, data: HeteroData, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot run with precision 'tf32x3'"):
        run(data, tmp_path / "out", settings={"precision": "tf32x3"})
    assert not (tmp_path / "out").exists()


def test_refuses_folders(whole: Any, run: Train, data: HeteroData, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="holds a finished run"):
        run(data, whole.out)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot write to the output folder"):
        run(data, tmp_path / "file" / "out")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(FileExistsError, match=r"holds .'checkpoints'., which this run would"):
        run(data, tmp_path)


def test_refuses_a_refit_that_has_no_negatives(tiny_data: HeteroData, tmp_path: Path) -> None:
    store = tiny_data[INTERACTS]
    everything = torch.stack([torch.zeros(80, dtype=torch.long), torch.arange(80)])
    for name in ("edge_index", "val_edge_label_index", "test_edge_label_index"):
        kept = store[name][:, store[name][0] > 0]
        part = {"edge_index": slice(60), "val_edge_label_index": slice(60, 70)}.get(
            name, slice(70, 80)
        )
        store[name] = torch.cat([everything[:, part], kept], dim=1)
    tiny_data[REV_INTERACTS].edge_index = store.edge_index.flip(0)
    config = TrainingConfig(epochs=1, device="cpu")
    message = "'refit' .* user 0 has interacted with all .*, or do without 'refit'"
    with pytest.raises(ValueError, match=message):
        train("bprmf", tiny_data, tmp_path / "out", config=config, refit=True)
    assert not (tmp_path / "out").exists()
    train("bprmf", tiny_data, tmp_path / "out", config=config)
    train("popularity", tiny_data, tmp_path / "fitted", config=config, refit=True)
