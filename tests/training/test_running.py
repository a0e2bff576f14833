import csv
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.loggers import CSVLogger
from torch_geometric.data import HeteroData

from examples.your_own_model import Content
from mentor_pyg.data import INTERACTS
from mentor_pyg.evaluation import full_ranking
from mentor_pyg.models import BPRMF, EASE, ItemKNN, LightGCN, Popularity, load_model
from mentor_pyg.training import TrainingConfig, loop, train
from tests.models.outsiders import OUTSIDERS

Train = Callable[..., Any]


def test_what_a_run_writes(whole: Any) -> None:
    assert json.loads((whole.out / "metrics.json").read_text()) == whole.metrics
    assert list(whole.metrics) == ["val", "test", "best_epoch", "seconds", "config"]
    keys = {f"{m}@{k}" for m in ("recall", "ndcg", "precision", "map") for k in (5, 10)}
    assert set(whole.metrics["val"]) == set(whole.metrics["test"]) == keys
    config = whole.metrics["config"]
    assert config == json.loads((whole.out / "settings.json").read_text())
    assert list(config) == ["model", "training", "data", "environment"]
    assert config["model"]["name"] == "mentor"
    assert config["model"]["settings"]["embedding_dim"] == 8
    assert config["model"]["settings"]["k"] == 10
    assert config["training"]["k"] == [5, 10]
    assert config["training"]["lr"] == 0.1
    assert config["data"].keys() == {"num_users", "num_items", "sha256"}
    assert config["environment"]["backend"] in ("native", "torch_csr")
    assert list((whole.out / "logs" / "tensorboard").glob("events.out.tfevents.*"))
    assert not list(whole.out.rglob("*.partial*"))


def test_table_has_terms_and_metrics_of_every_epoch(whole: Any) -> None:
    table = whole.table
    assert [row["epoch"] for row in table] == list(range(1, len(table) + 1))
    terms = {f"train/{term}" for term in ("bpr", "reg", "align", "mask", "perturb")}
    metrics = {f"val/{key}" for key in whole.metrics["val"]}
    assert all(row.keys() == {"epoch", *terms, *metrics} for row in table)


def test_best_epoch_is_the_first_of_the_highest_validation_recall(whole: Any) -> None:
    recall = [row["val/recall@10"] for row in whole.table]
    best = recall.index(max(recall))
    assert whole.metrics["best_epoch"] == best + 1 > 1
    for key, value in whole.metrics["val"].items():
        assert value == pytest.approx(whole.table[best][f"val/{key}"]), key


def test_of_epochs_that_score_the_same_the_first_is_the_best(
    data: HeteroData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "full_ranking", lambda *args: {"recall@10": 0.5})
    config = TrainingConfig(epochs=3, k=(10,), device="cpu")
    assert train("bprmf", data, tmp_path, config=config)["best_epoch"] == 1


def test_every_epoch_of_every_seed_draws_other_numbers(data: HeteroData, tmp_path: Path) -> None:
    drawn = []
    for seed in (0, 1):
        train(
            "bprmf",
            data,
            tmp_path / str(seed),
            config=TrainingConfig(epochs=2, seed=seed, device="cpu"),
            on_step=lambda run, terms: drawn.append(torch.rand(()).item()),
        )
    assert len(set(drawn)) == 4


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


def test_test_is_read_once_and_selects_nothing(
    whole: Any, run: Train, data: HeteroData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked = []

    def spy(*args: Any) -> dict[str, float]:
        ranked.append(args[2])
        return full_ranking(*args)

    monkeypatch.setattr(loop, "full_ranking", spy)
    other = data.clone()
    held_out = data[INTERACTS].val_edge_label_index
    other[INTERACTS].test_edge_label_index = data[INTERACTS].test_edge_label_index[:, ::2]
    metrics = run(other, tmp_path).metrics
    # One more of validation before, to see that it can be ranked, and one of either at the end.
    assert ranked == ["val"] * (len(whole.table) + 2) + ["test"]
    assert metrics["val"] == whole.metrics["val"]
    assert metrics["test"] != whole.metrics["test"]
    assert metrics["best_epoch"] == whole.metrics["best_epoch"]
    assert torch.equal(other[INTERACTS].val_edge_label_index, held_out)


def test_leaves_the_data_as_it_is(run: Train, data: HeteroData, tmp_path: Path) -> None:
    before = {key: dict(value) for key, value in data.to_dict().items()}
    run(data, tmp_path, epochs=1)
    after = data.to_dict()
    assert before.keys() == after.keys()
    for key, attributes in before.items():
        assert attributes.keys() == after[key].keys()
        assert all(value is after[key][name] for name, value in attributes.items())


@pytest.mark.parametrize(
    "model", ["lightgcn", "bprmf", Content, *OUTSIDERS], ids=lambda m: getattr(m, "name", m)
)
def test_other_models_by_name_or_class(
    model: Any, run: Train, data: HeteroData, tmp_path: Path
) -> None:
    """With dropout, with a graph for each epoch, with two optimisers, with other scores."""
    trained = run(data, tmp_path, model, epochs=2, settings={"embedding_dim": 4})
    name = getattr(model, "name", model)
    assert trained.metrics["config"]["model"]["name"] == name
    again = load_model(tmp_path / "model.safetensors", data)
    assert again.name == name
    with torch.no_grad():
        val = full_ranking(again.scorer(again.prepare(data)), data, "val", (5, 10))
    assert val == trained.metrics["val"]
    best = trained.table[trained.metrics["best_epoch"] - 1]
    assert {f"val/{key}": value for key, value in val.items()}.items() <= best.items()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("popularity", {}),
        ("item_knn", {"k": 7}),
        ("user_knn", {"k": 7}),
        ("ease", {"l2": 5.0, "smooth": "visual"}),
        ("rp3beta", {"smooth": "textual"}),
    ],
)
def test_models_without_gradients(
    name: str, settings: dict[str, Any], run: Train, data: HeteroData, tmp_path: Path
) -> None:
    fitted = run(data, tmp_path / "one", name, settings=settings)
    metrics = fitted.metrics
    assert json.loads((tmp_path / "one" / "metrics.json").read_text()) == metrics
    assert list(metrics) == ["val", "test", "best_epoch", "seconds", "config"]
    assert metrics["best_epoch"] == 1
    assert settings.items() <= metrics["config"]["model"]["settings"].items()
    again = load_model(tmp_path / "one" / "model.safetensors", data)
    inputs = again.prepare(data)
    for split in ("val", "test"):
        assert full_ranking(again.scorer(inputs), data, split, (5, 10)) == metrics[split]
    assert fitted.table == [{"epoch": 1} | {f"val/{key}": v for key, v in metrics["val"].items()}]
    assert list((tmp_path / "one" / "logs" / "tensorboard").glob("events.out.tfevents.*"))
    # Training settings that do not apply are recorded and change nothing.
    other = run(data, tmp_path / "two", name, settings=settings, lr=9.0, batch_size=1, seed=11)
    assert other.metrics["config"]["training"]["lr"] == 9
    assert all(other.metrics[split] == metrics[split] for split in ("val", "test"))


def test_a_fitted_run_is_finished_or_goes_on(
    run: Train, data: HeteroData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(ItemKNN, "solve", stop)
        run(data, tmp_path, "item_knn", settings={})
    assert not (tmp_path / "metrics.json").exists()
    with pytest.raises(ValueError, match="holds a run with other settings"):
        run(data, tmp_path, "item_knn", settings={"k": 3})
    assert run(data, tmp_path, "item_knn", settings={}).metrics["best_epoch"] == 1
    with pytest.raises(FileExistsError, match="holds a finished run"):
        run(data, tmp_path, "item_knn", settings={})


def stop(*_: Any) -> None:
    raise KeyboardInterrupt


def test_what_does_not_go_is_said_before_fitting(
    run: Train, data: HeteroData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EASE, "solve", stop)
    with pytest.raises(ValueError, match=r"'k' needs positive integers up to .*, 80"):
        run(data, tmp_path / "out", "ease", settings={}, k=(81,))
    with pytest.raises(ValueError, match=r"'smooth' needs to be None or a modality"):
        run(data, tmp_path / "out", "ease", settings={"smooth": "odour"})
    other = data.clone()
    other[INTERACTS].test_edge_label_index = other[INTERACTS].test_edge_label_index[:, :0]
    with pytest.raises(ValueError, match="the test split has no interactions"):
        run(other, tmp_path / "out", "ease", settings={})
    assert not (tmp_path / "out").exists()


def test_hooks_and_refit_of_a_fitted_model(data: HeteroData, tmp_path: Path) -> None:
    rows = []
    logger = CSVLogger(tmp_path / "own")
    config = TrainingConfig(k=(10,), device="cpu")
    model = Popularity.from_data(data)
    metrics = train(
        model,
        data,
        tmp_path / "out",
        config=config,
        refit=True,
        loggers=[logger],
        on_epoch=lambda run, row: rows.append((run.epoch, run.best_epoch, dict(row))),
    )
    assert rows == [(1, 1, {"epoch": 1} | {f"val/{k}": v for k, v in metrics["val"].items()})]
    assert "val/recall@10" in (Path(logger.log_dir) / "metrics.csv").read_text()
    refit = tmp_path / "out" / "refit"
    assert json.loads((refit / "metrics.json").read_text())["epochs"] == 1
    counts = [load_model(f / "model.safetensors").count for f in (tmp_path / "out", refit)]
    store = data[INTERACTS]
    held_out = store.val_edge_label_index.size(1) + store.test_edge_label_index.size(1)
    assert [int(count.sum()) for count in counts] == [
        store.edge_index.size(1),
        store.edge_index.size(1) + held_out,
    ]


def test_a_model_to_start_from(data: HeteroData, tmp_path: Path) -> None:
    model = LightGCN.from_data(data)
    before = model.user_embedding.detach().clone()
    config = TrainingConfig(epochs=1, lr=1e-6, device="cpu")
    train(model, data, tmp_path / "one", config=config)
    assert (model.user_embedding - before).abs().max() < 1e-4
    with pytest.raises(ValueError, match="'settings' cannot be given beside a model"):
        train(model, data, tmp_path / "two", settings={"num_layers": 1}, config=config)


def test_the_graph_of_an_epoch_is_a_function_of_seed_and_epoch(
    data: HeteroData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pruned, *_) = OUTSIDERS
    resample, drawn = pruned.resample, {}

    def spy(model: Any, inputs: Any, epoch: int, generator: torch.Generator) -> Any:
        out = resample(model, inputs, epoch, generator)
        drawn.setdefault(epoch, []).append(out.graphs["interaction"].col)
        assert inputs.graphs["interaction"].num_edges == 2 * data[INTERACTS].edge_index.size(1)
        return out

    monkeypatch.setattr(pruned, "resample", spy)
    for out in ("one", "two"):
        train(pruned, data, tmp_path / out, config=TrainingConfig(epochs=2, device="cpu"))
    assert all(torch.equal(*both) for both in drawn.values())
    assert not torch.equal(drawn[0][0], drawn[1][0])


def test_every_optimiser_changes_its_own_parameters(data: HeteroData, tmp_path: Path) -> None:
    moved = []

    def on_step(run: loop.Fit, terms: Mapping[str, Any]) -> None:
        assert terms.keys() == {"critic", "bpr", "reg", "fool"}
        moved.append([type(optimizer).__name__ for optimizer in run.optimizers])
        critic = run.model.get_submodule("critic").weight
        # The tables' step comes last and leaves the critic without its gradient.
        assert critic.grad is not None

    config = TrainingConfig(epochs=1, batch_size=200, device="cpu")
    train("adversarial_mf", data, tmp_path, config=config, on_step=on_step)
    assert moved == [["SGD", "Adam"]] * 2


def test_hooks_and_loggers(data: HeteroData, tmp_path: Path) -> None:
    steps, rows = [], []
    logger = CSVLogger(tmp_path / "own")

    def on_epoch(run: loop.Fit, row: Mapping[str, Any]) -> None:
        assert run.epoch == row["epoch"] == len(run.rows)
        rows.append(row["val/recall@10"])
        for optimizer in run.optimizers:
            optimizer.param_groups[0]["lr"] /= 2  # A schedule of one's own.

    config = TrainingConfig(epochs=2, batch_size=128, k=(10,), device="cpu")
    train(
        "bprmf",
        data,
        tmp_path / "out",
        config=config,
        loggers=[logger],
        on_step=lambda run, terms: steps.append((run.epoch, float(terms["bpr"]))),
        on_epoch=on_epoch,
    )
    logger.finalize("success")
    assert [epoch for epoch, _ in steps] == [0, 0, 0, 1, 1, 1]
    assert len(rows) == 2
    assert "val/recall@10" in (Path(logger.log_dir) / "metrics.csv").read_text()
    state = torch.load(tmp_path / "out" / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["optimizers"][0]["param_groups"][0]["lr"] == 1e-3 / 4


def test_refit_is_on_all_interactions_for_as_many_epochs(data: HeteroData, tmp_path: Path) -> None:
    config = TrainingConfig(epochs=6, patience=2, lr=0.05, device="cpu", seed=3)
    metrics = train("bprmf", data, tmp_path / "out", config=config, refit=True)
    refit = tmp_path / "out" / "refit"
    assert json.loads((refit / "metrics.json").read_text())["epochs"] == metrics["best_epoch"]
    store = data[INTERACTS]
    held_out = store.val_edge_label_index
    first, second = (load_model(f / "model.safetensors") for f in (tmp_path / "out", refit))
    assert isinstance(first, BPRMF)
    # What was held out ranks higher where it was trained on.
    scores = [m.encode(data).pair_scores(*held_out).mean() for m in (first, second)]
    assert scores[1] > scores[0]
    with pytest.raises(ValueError, match="holds a model of other data"):
        load_model(refit / "model.safetensors", data)


def test_cluster_does_not_interfere(
    run: Train, data: HeteroData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With these, Lightning would want as many processes, and resume in its own way.
    for name, value in {"NTASKS": "2", "JOB_NAME": "job", "JOB_ID": "1", "PROCID": "1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert run(data, tmp_path, epochs=1).metrics["best_epoch"] == 1


def test_terms_need_not_be_there_in_every_step_and_epoch(
    run: Train, data: HeteroData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms, calls = BPRMF.terms, itertools.count()

    def some(model: BPRMF, *batch: Any) -> dict[str, torch.Tensor]:
        found = terms(model, *batch)
        call = next(calls)  # One before the first step, and three steps an epoch.
        if call in (3, 8, 9):
            found["extra"] = model.user_embedding.sum() * 0 + call
        return found

    monkeypatch.setattr(BPRMF, "terms", some)
    run(data, tmp_path, "bprmf", epochs=4)
    with (tmp_path / "logs" / "csv" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["train/extra"] for row in rows] == ["3.0", "", "8.5", ""]
    assert all(row["train/bpr"] and row["val/recall@10"] for row in rows)


def test_settings_may_be_those_that_were_built(data: HeteroData, tmp_path: Path) -> None:
    settings, config = {"num_layers": 1}, {"epochs": 1, "device": "cpu"}
    found = train("lightgcn", data, tmp_path / "a", settings=settings, config=config)
    same = train(
        "lightgcn",
        data,
        tmp_path / "b",
        settings=LightGCN.Config(num_layers=1),
        config=TrainingConfig(epochs=1, device="cpu"),
    )
    assert found["config"] == same["config"] and found["test"] == same["test"]
    for model, other in (("lightgcn", BPRMF.Config()), ("bprmf", LightGCN.Config())):
        with pytest.raises(ValueError, match=r"Config needs a mapping of settings \(got .*Config"):
            train(model, data, tmp_path / "c", settings=other)
