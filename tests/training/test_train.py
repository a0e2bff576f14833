import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS
from mentor_pyg.evaluation import full_ranking
from mentor_pyg.models import load_model
from mentor_pyg.training import module as module_of_epochs

Train = Callable[..., Any]


def test_what_a_run_writes(whole: Any) -> None:
    assert json.loads((whole.out / "metrics.json").read_text()) == whole.metrics
    assert list(whole.metrics) == ["val", "test", "best_epoch", "seconds", "config"]
    keys = {f"{m}@{k}" for m in ("recall", "ndcg", "precision", "map") for k in (5, 10)}
    assert set(whole.metrics["val"]) == set(whole.metrics["test"]) == keys
    config = whole.metrics["config"]
    assert config == json.loads((whole.out / "settings.json").read_text())
    assert config["model"] == "mentor"
    assert config["embedding_dim"] == 8
    assert config["semantics"] == "paper"
    assert config["lr"] == 0.1
    assert config["data"].keys() == {"num_users", "num_items", "sha256"}
    assert list((whole.out / "logs" / "tensorboard").glob("events.out.tfevents.*"))
    assert not list(whole.out.rglob("*.partial"))


def test_table_has_terms_and_metrics_of_every_epoch(whole: Any) -> None:
    table = whole.table
    assert [row["epoch"] for row in table] == list(range(1, whole.steps // 3 + 1))
    terms = {f"train/{term}" for term in ("bpr", "reg", "align", "mask", "perturb")}
    metrics = {f"val/{key}" for key in whole.metrics["val"]}
    assert all(row.keys() == {"epoch", *terms, *metrics} for row in table)


def test_best_epoch_is_the_first_of_the_highest_validation_recall(whole: Any) -> None:
    recall = [row["val/recall@10"] for row in whole.table]
    best = recall.index(max(recall))
    assert whole.metrics["best_epoch"] == best + 1 > 1
    for key, value in whole.metrics["val"].items():
        assert value == pytest.approx(whole.table[best][f"val/{key}"]), key


def test_stops_when_the_patience_is_used_up(whole: Any) -> None:
    assert (
        len(whole.table)
        == whole.metrics["best_epoch"] + whole.config.patience
        < whole.config.epochs
    )


def test_results_are_those_of_the_saved_weights(whole: Any, data: HeteroData) -> None:
    model = load_model(whole.out / "model.safetensors", data)
    for split in ("val", "test"):
        with torch.no_grad():
            reps = model.encode(data)
        assert full_ranking(reps, data, split, whole.config.k) == whole.metrics[split]


def test_test_split_selects_nothing(
    whole: Any, run: Train, data: HeteroData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked = []

    def spy(*args: Any) -> dict[str, float]:
        ranked.append(args[2])
        return full_ranking(*args)

    monkeypatch.setattr(module_of_epochs, "full_ranking", spy)
    other = data.clone()
    other[INTERACTS].test_edge_label_index = data[INTERACTS].val_edge_label_index.flip(1)
    metrics = run(other, tmp_path).metrics
    assert ranked == ["val"] * len(whole.table)
    assert metrics["val"] == whole.metrics["val"] == metrics["test"]
    assert metrics["best_epoch"] == whole.metrics["best_epoch"]


def test_leaves_the_data_as_it_is(run: Train, data: HeteroData, tmp_path: Path) -> None:
    before = {key: dict(value) for key, value in data.to_dict().items()}
    run(data, tmp_path, epochs=1)
    after = data.to_dict()
    assert before.keys() == after.keys()
    for key, attributes in before.items():
        assert attributes.keys() == after[key].keys()
        assert all(value is after[key][name] for name, value in attributes.items())


@pytest.mark.parametrize("model", ["lightgcn", "bprmf"])
def test_other_models(model: str, run: Train, data: HeteroData, tmp_path: Path) -> None:
    metrics = run(data, tmp_path, model, epochs=2).metrics
    assert metrics["config"]["model"] == model
    assert type(load_model(tmp_path / "model.safetensors", data)).__name__.lower() == model


def test_cluster_does_not_interfere(
    run: Train, data: HeteroData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With these, Lightning would want as many processes, and resume in its own way.
    for name, value in {"NTASKS": "2", "JOB_NAME": "job", "JOB_ID": "1", "PROCID": "1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert run(data, tmp_path, epochs=1).metrics["best_epoch"] == 1
