import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from filelock import FileLock

from examples.your_own_model import Content
from mentor_pyg.data import fingerprint
from mentor_pyg.datasets.sources import read_source
from mentor_pyg.evaluation import full_ranking, items_by_popularity, recall_by_item_group
from mentor_pyg.evaluation.ranking import measured
from mentor_pyg.experiments import (
    Cell,
    cells_of,
    compare,
    read_plan,
    report,
    search,
    write_report,
)
from mentor_pyg.experiments.comparing import STRATA
from mentor_pyg.experiments.evidence import paired_test
from mentor_pyg.models import build_model, load_model
from mentor_pyg.training import train

pytest.importorskip("optuna")
MODULE = "mentor_pyg.experiments.comparing"
Write = Callable[..., Path]
GIVEN = (
    ("    search: {settings.k: [5, 20], settings.shrink: {from: 0.0, to: 50.0}}\n", ""),
    ("item_knn:", "item_knn: {settings: {k: 20}}"),
    (
        "    search: {settings.num_layers: [1, 2], training.lr: {from: 1.0e-3, to: 1.0e-1, "
        "scale: log}}\n",
        "    training: {lr: 0.01}\n    variants: {flat: {settings.num_layers: 0}}\n",
    ),
    ("epochs: 12, patience: 12", "epochs: 3"),
)
"""A plan that searches nothing, with a variant."""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "my out"


def named(cells: list[Cell]) -> list[tuple[str, int]]:
    return [(cell.entry.label, cell.seed) for cell in cells]


def test_every_cell_is_trained_once_and_ranked(
    write_plan: Write, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = read_plan(write_plan(*GIVEN))
    with_gradient = []

    def spy(scorer: Any, *args: Any, **options: Any) -> Any:
        with_gradient.append(scorer.scores(torch.arange(2)).requires_grad)
        return measured(scorer, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(f"{MODULE}.measured", spy)
        cells = compare(plan, out)
    assert with_gradient == [False] * 6
    assert named(cells) == [
        *(("popularity", 3), ("item_knn", 3), ("lightgcn", 3), ("lightgcn-flat", 3)),
        *(("lightgcn", 4), ("lightgcn-flat", 4)),
    ]
    for cell in cells:
        result, users = cell.result, cell.per_user
        assert result is not None
        assert result["config"]["training"]["seed"] == cell.seed
        # A mean over users of what is kept of each.
        assert users["recall@10"].mean().item() == pytest.approx(result["test"]["recall@10"])
        assert users["user"].unique().numel() == users["recall@10"].numel() == 60
        assert 0 < result["beyond"]["coverage@10"] <= 1
        model = load_model(cell.folder / "run" / "model.safetensors")
        settings = {"lightgcn": 3, "lightgcn-flat": 0}
        if cell.entry.label in settings:
            assert model.config.num_layers == settings[cell.entry.label]
            assert model.config.embedding_dim == 8
            assert result["epoch_seconds"] > 0
    monkeypatch.setattr(f"{MODULE}.train", lambda *_, **__: pytest.fail("trained again"))
    assert named(compare(plan, out)) == named(cells)


def test_what_items_and_modalities_bring(write_plan: Write, out: Path) -> None:
    own = "mgcn: {settings: {k: 3, embedding_dim: 8}, variants: {deaf: {without: [textual]}}}"
    plan = read_plan(write_plan(*GIVEN, ("  lightgcn:", f"  {own}\n  lightgcn:")))
    cells = {cell.entry.label: cell for cell in compare(plan, out) if cell.seed == 3}
    data = read_source(plan.data["tiny"])
    results = {label: cell.result or {} for label, cell in cells.items()}
    assert results["lightgcn"]["hidden"] == results["item_knn"]["hidden"] == {}
    assert set(results["mgcn-deaf"]["hidden"]) == {"visual"}
    path = cells["mgcn"].folder / "run" / "model.safetensors"
    model = load_model(path, data)
    groups = items_by_popularity(data, STRATA)
    items = recall_by_item_group(model.encode(data), data, groups, k=10)["recall@10"]
    for found, expected in zip(results["mgcn"]["items"], items.tolist(), strict=True):
        assert found == expected or (found is None and math.isnan(expected))
    hidden = data.clone()
    hidden["item"]["has_visual"] = torch.zeros(80, dtype=torch.bool)
    recall = full_ranking(model.encode(hidden), data, "test", 10)["recall@10"]
    assert results["mgcn"]["hidden"]["visual"] == pytest.approx(recall)
    assert recall != results["mgcn"]["test"]["recall@10"]
    settings = json.loads((path.parent / "settings.json").read_text())
    assert settings["environment"]["data"] == plan.data["tiny"]
    deaf = json.loads((cells["mgcn-deaf"].folder / "run" / "settings.json").read_text())
    assert deaf["environment"]["data"] == plan.data["tiny"]
    assert deaf["environment"]["modalities"] == ["visual"]

    markdown = write_report(plan, out)[0].read_text()
    means = {label: [results_of(cells_of(plan, out), label, "test")] for label in ("mgcn",)}
    whole = means["mgcn"][0]
    without = results_of(cells_of(plan, out), "mgcn-deaf", "test") - whole
    rows = [line for line in markdown.splitlines() if line.startswith("| mgcn | ")]
    (of_text,) = [row for row in rows if "textual" in row]
    (of_image,) = [row for row in rows if "visual" in row]
    assert of_text.startswith(f"| mgcn | textual | {whole:.4f} | ")
    assert of_text.endswith(f" | {without:+.4f} |") and of_image.endswith(" |  |")
    hidden_by = results_of(cells_of(plan, out), "mgcn", "hidden", "visual") - whole
    assert of_image.startswith(f"| mgcn | visual | {whole:.4f} | {hidden_by:+.4f} |")
    assert "### Views of mgcn on tiny" in markdown and "| fused and" not in markdown
    torch.manual_seed(3)
    fresh = build_model("mgcn", data, {"k": 3, "embedding_dim": 8})
    rows = [
        [
            torch.nn.functional.normalize(m.encode(data).item[view]).detach()
            for view in ("id", "visual")
        ]
        for m in (fresh, model)
    ]
    distances = [
        (a.mean(dim=0) - b.mean(dim=0)).abs() + (a.var(dim=0) - b.var(dim=0)).abs() for a, b in rows
    ]
    before, after = (f"{distance.mean():.4f}" for distance in distances)
    assert before != after and f"| id and visual | {before} | {after} |" in markdown
    assert "### Views of lightgcn" not in markdown
    assert (out / "figures" / "tiny-mgcn-views.png").read_bytes().startswith(b"\x89PNG")


def results_of(cells: list[Cell], label: str, part: str, key: str = "recall@10") -> float:
    """Return the mean over seeds of a label's recall."""
    results = [cell.result or {} for cell in cells if cell.entry.label == label]
    return sum(float(result[part][key]) for result in results) / len(results)


def test_validation_orders_the_report(write_plan: Write, out: Path) -> None:
    plan = read_plan(write_plan(*GIVEN))
    cells = compare(plan, out)
    for cell in cells:  # Test says the opposite.
        result = cell.result or {}
        value = len(cell.entry.label) / 100
        result["val"]["recall@10"], result["test"]["recall@10"] = value, 1 - value
        (cell.folder / "cell.json").write_text(json.dumps(result))
    markdown = write_report(plan, out)[0].read_text()
    table = markdown.partition("### Accuracy")[2].partition("###")[0].splitlines()
    labels = [line.split("|")[1].strip() for line in table if line.startswith("| ")][1:]
    assert labels == ["lightgcn-flat", "popularity", "item_knn", "lightgcn"]
    assert "popularity, the best on validation but for variants, against" in markdown


def test_recall_by_activity(write_plan: Write, out: Path) -> None:
    plan = read_plan(write_plan(*GIVEN))
    cells = {c.entry.label: c for c in compare(plan, out) if c.seed == 3}
    data, users = read_source(plan.data["tiny"]), cells["popularity"].per_user
    count = torch.bincount(data["user", "interacts", "item"].edge_index[0], minlength=60)
    markdown = write_report(plan, out)[0].read_text()
    title = "| model | items 0 | items 1 to 4 | items 5 to 19 | items 20 or more | users 1 to 4 | "
    lines = markdown.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(title))
    row = next(line for line in lines[start:] if line.startswith("| popularity |"))
    found = [cell.strip() for cell in row.split("|")[2:-1]]
    for cell, low, high in zip(found[4:], (1, 5, 20), (4, 19, 10**6), strict=True):
        of_group = (count[users["user"]] >= low) & (count[users["user"]] <= high)
        values = users["recall@10"][of_group]
        assert cell == (f"{values.mean():.4f}" if values.numel() else "")
    assert any(found[4:])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "num_layers: 0}",
            "num_layers: 0}, deaf: {without: [smell]}",
            "deaf on tiny: 'modalities' ",
        ),
        (
            "num_layers: 0}",
            "num_layers: 0}, gap: {missing: {share: 0.5, seed: x}}",
            "gap on tiny: ",
        ),
        ("k: [5, 10]", "k: [5, 81]", "popularity on tiny: 'k' needs positive integers up to"),
    ],
)
def test_what_does_not_go_with_the_data_is_said_before_training(
    write_plan: Write, out: Path, old: str, new: str, message: str
) -> None:
    path = write_plan(*GIVEN, (old, new))
    with pytest.raises(ValueError, match=rf"{path}: (lightgcn-)?{message}"):
        compare(read_plan(path), out)
    assert not (out / "cells").exists()


def test_a_failed_cell_is_reported_and_tried_again(
    write_plan: Write, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    plan = read_plan(write_plan(*GIVEN))

    def failing(model: str, data: Any, path: Path, **options: Any) -> Any:
        if model == "item_knn":
            raise MemoryError("too little")
        return train(model, data, path, **options)

    monkeypatch.setattr(f"{MODULE}.train", failing)
    results = {cell.entry.label: cell.result for cell in compare(plan, out)}
    error = results["item_knn"]
    assert error is not None and error["error"] == "MemoryError: too little"
    assert "item_knn on tiny, seed 3: failed: too little" in capsys.readouterr().err
    markdown = write_report(plan, out)[0].read_text()
    assert "### Failed: item_knn, seed 3\n\nMemoryError: too little" in markdown
    title, _, failed = markdown.partition("### Failed")
    command = f"mentor-pyg compare --config {plan.path} --out '{out}'"
    assert command in title and f"{command} --only item_knn" in failed
    ablation = write_report(plan, out, "ablation")[0].read_text()
    assert f"{command.replace('compare', 'ablate')} --only item_knn" in ablation
    monkeypatch.undo()
    assert all("error" not in (cell.result or {}) for cell in compare(plan, out))
    assert "Failed" not in write_report(plan, out)[0].read_text()


def test_goes_on_with_an_interrupted_cell(
    write_plan: Write, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    plan = read_plan(write_plan(*GIVEN))

    def stopped(*args: Any, **options: Any) -> Any:
        watch = options["on_epoch"]

        def stop(run: Any, row: Any) -> None:
            watch(run, row)
            if run.epoch == 2 and run.model.name == "lightgcn":
                raise KeyboardInterrupt

        return train(*args, **{**options, "on_epoch": stop})

    monkeypatch.setattr(f"{MODULE}.train", stopped)
    with pytest.raises(KeyboardInterrupt):
        compare(plan, out)
    assert capsys.readouterr().err == f"stopped; run the same again with --out '{out}' to go on\n"
    monkeypatch.undo()
    epochs: list[int] = []

    def counted(*args: Any, **options: Any) -> Any:
        def watch(run: Any, row: Any) -> None:
            epochs.append(run.epoch)

        return train(*args, **{**options, "on_epoch": watch})

    monkeypatch.setattr(f"{MODULE}.train", counted)
    compare(plan, out)
    assert epochs[0] == 2  # Of the interrupted cell; the ones before were done.


def test_leaves_cells_that_others_are_at(write_plan: Write, out: Path, capsys: Any) -> None:
    plan = read_plan(write_plan(*GIVEN))
    held = next(cell for cell in cells_of(plan, out) if named([cell]) == [("lightgcn", 4)])
    held.folder.parent.mkdir(parents=True)
    with FileLock(held.folder.with_suffix(".lock")):
        cells = compare(plan, out)
    assert named([cell for cell in cells if cell.result is None]) == [("lightgcn", 4)]
    assert "lightgcn on tiny, seed 4: another process is at it" in capsys.readouterr().out
    assert "1 cells are still to be trained" in write_report(plan, out)[0].read_text()


def test_needs_the_searches_to_be_done(write_plan: Write, out: Path) -> None:
    plan = read_plan(
        write_plan(("epochs: 12, patience: 12", "epochs: 2"), ("seeds: [3, 4]", "seeds: [3]"))
    )
    with pytest.raises(FileNotFoundError, match="item_knn on tiny are still to be searched"):
        compare(plan, out)
    assert not (out / "cells").exists()
    chosen = search(plan, out)
    (cell,) = [cell for cell in compare(plan, out) if cell.entry.label == "item_knn"]
    assert cell.result is not None
    assert (
        cell.result["config"]["model"]["settings"]["k"]
        == (chosen["tiny", "item_knn"]["settings"]["k"])
    )


def test_needs_models_without_gradients(write_plan: Write, out: Path) -> None:
    only = read_plan(
        write_plan(*GIVEN, ("  popularity: {}\n", ""), ("  item_knn: {settings: {k: 20}}\n", ""))
    )
    with pytest.raises(ValueError, match="on tiny has no model without gradients; add popularity"):
        compare(only, out)


def test_report(write_plan: Write, out: Path) -> None:
    plan = read_plan(write_plan(*GIVEN, ("trials: 4", "trials: 4\nnotes: [Mind & heed.]")))
    cells = compare(plan, out)
    markdown, page = (path.read_text() for path in write_report(plan, out))
    results = {(cell.entry.label, cell.seed): cell.result or {} for cell in cells}
    recalls = [results["lightgcn", seed]["test"]["recall@10"] for seed in (3, 4)]
    mean, deviation = sum(recalls) / 2, abs(recalls[0] - recalls[1]) / 2**0.5
    row = next(line for line in markdown.splitlines() if line.startswith("| lightgcn | 2 |"))
    assert f"{mean:.4f} ± {deviation:.4f}" in row
    best = max(
        ("popularity", "item_knn", "lightgcn", "lightgcn-flat"),
        key=lambda label: sum(
            results[label, seed]["test"]["ndcg@5"]
            for seed in ((3, 4) if label.startswith("light") else (3, 3))
        ),
    )
    row = next(line for line in markdown.splitlines() if line.startswith(f"| {best} |"))
    assert "**" in row
    assert "Preliminary: fewer than 5 seeds of lightgcn, lightgcn-flat" in markdown
    assert "\n\nMind & heed.\n\n" in markdown and "<p>Mind &amp; heed.</p>" in page
    assert markdown.startswith("# Comparison\n")
    assert "### Ablation of lightgcn" in markdown and "### Paired tests" in markdown
    users = {
        label: [c.per_user["recall@10"] for c in cells if c.entry.label == label]
        for label in ("lightgcn", "lightgcn-flat")
    }
    test = paired_test(*(torch.stack(u).double().mean(dim=0).numpy() for u in users.values()))
    assert f"| {test.difference:+.4f} | {test.low:+.4f} to {test.high:+.4f} |" in markdown
    assert (out / "figures" / "tiny-curves.png").read_bytes().startswith(b"\x89PNG")
    assert page.count("data:image/png;base64,") == 1 and "± " in page
    assert fingerprint(read_source(plan.data["tiny"])) in markdown
    table = pd.read_parquet(out / "users-tiny.parquet").query("model == 'lightgcn' and seed == 4")
    (cell,) = [c for c in cells if named([c]) == [("lightgcn", 4)]]
    for key, values in cell.per_user.items():
        assert table[key].tolist() == values.tolist()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("embedding_dim: 8", "embedding_dim: 4", "settings.embedding_dim was 8, now 4"),
        ("lr: 0.01", "lr: 0.1", "training.lr was 0.01, now 0.1"),
        ("{settings: {k: 20}}", "{settings: {k: 20, shrink: 3.0}}", "shrink was 0.0, now 3.0"),
        ("{settings: {k: 20}}", "{model: user_knn}", "model was item_knn, now user_knn"),
        ("  lightgcn:", "  lightgcn:\n    missing: {share: 0.5}", "data was "),
    ],
)
def test_a_changed_plan_is_noticed(
    write_plan: Write, out: Path, old: str, new: str, named: str
) -> None:
    compare(read_plan(write_plan(*GIVEN)), out)
    path = write_plan(*GIVEN)
    path.write_text(path.read_text().replace(old, new))
    plan = read_plan(path)
    with pytest.raises(ValueError, match=f"with other settings or data .*{named}"):
        compare(plan, out)
    markdown = write_report(plan, out)[0].read_text()
    assert "### Failed: " in markdown and named in markdown


def test_a_plan_that_changed_while_a_cell_was_under_way_is_noticed(
    write_plan: Write, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{MODULE}._ranked", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    path = write_plan(*GIVEN)
    with pytest.raises(KeyboardInterrupt):
        compare(read_plan(path).only(["lightgcn"]), out, baselines=False)
    monkeypatch.undo()
    text = path.read_text()
    monkeypatch.setattr(f"{MODULE}.train", lambda *_, **__: pytest.fail("trained"))
    path.write_text(text.replace("embedding_dim: 8", "embedding_dim: 4"))
    with pytest.raises(
        ValueError, match=r"embedding_dim was 8, now 4\); undo the change, .*remove"
    ):
        compare(read_plan(path), out)
    monkeypatch.undo()
    path.write_text(text.replace("epochs: 3", "epochs: 4"))  # It may go on for longer.
    compare(read_plan(path), out)


def test_commands_import_the_models_of_others(write_plan: Write, out: Path) -> None:
    own = ("popularity: {}", f"popularity: {{}}\n  {Content.name}: {{}}")
    plan = read_plan(write_plan(*GIVEN, own))
    command = f"--config {plan.path} --out '{out}/a b'"
    imported = f"--import {Content.__module__}"
    assert (
        report._command("compare", plan, out / "a b") == f"mentor-pyg compare {imported} {command}"
    )
    ours = plan.only(["popularity"])
    assert report._command("ablate", ours, out / "a b") == f"mentor-pyg ablate {command}"


def test_how_models_are_trained_does_not_concern_fitted_ones(write_plan: Write, out: Path) -> None:
    compare(read_plan(write_plan(*GIVEN)), out)
    path = write_plan(*GIVEN)
    path.write_text(path.read_text().replace("epochs: 3", "epochs: 3, patience: 2"))
    with pytest.raises(ValueError, match=r"patience was .*, now 2"):
        compare(read_plan(path), out)
    shutil.rmtree(out / "cells" / "tiny" / "lightgcn")
    shutil.rmtree(out / "cells" / "tiny" / "lightgcn-flat")
    compare(read_plan(path), out)


def test_a_setting_that_is_younger_than_a_run_had_its_default(write_plan: Write, out: Path) -> None:
    plan = read_plan(write_plan(*GIVEN))
    for cell in compare(plan, out):
        result = cell.result or {}
        result["config"]["model"]["settings"].pop("backend", None)
        (cell.folder / "cell.json").write_text(json.dumps(result))
    compare(plan, out)


def test_changed_data_are_noticed(write_plan: Write, out: Path) -> None:
    searched = ("  item_knn: {settings: {k: 20}}", "  item_knn: {search: {settings.k: [5, 20]}}")
    path = write_plan(*GIVEN)
    path.write_text(path.read_text().replace(*searched))
    plan = read_plan(path)
    search(plan, out)
    (inter,) = Path(plan.data["tiny"]).glob("*.inter")
    lines = inter.read_text().splitlines()
    inter.write_text("\n".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"chosen.json was chosen on other data"):
        compare(plan, out)


def test_what_another_process_has_ended_is_left(
    write_plan: Write, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = read_plan(write_plan(*GIVEN)).only(["popularity"])
    (cell,) = cells_of(plan, out)

    class Slow(FileLock):
        def __enter__(self) -> Any:  # Meanwhile another process has made the cell.
            (cell.folder / "cell.json").write_text('{"config": "elsewhere"}')
            return super().__enter__()

    monkeypatch.setattr(f"{MODULE}.FileLock", Slow)
    assert [c.result for c in compare(plan, out)] == [{"config": "elsewhere"}]


@pytest.mark.parametrize("file", ["cell.json", "users.safetensors"])
def test_a_damaged_cell_is_a_failed_one(write_plan: Write, out: Path, file: str) -> None:
    plan = read_plan(write_plan(*GIVEN))
    cells = compare(plan, out)
    (cells[1].folder / file).write_text("{")
    markdown = write_report(plan, out)[0].read_text()
    assert f"### Failed: item_knn, seed 3\n\n{cells[1].folder / file} is" in markdown
    before = cells[0].folder / "run" / "metrics.json", cells[1].folder / "run" / "metrics.json"
    times = [path.stat().st_mtime_ns for path in before]
    (cells[1].folder / "cell.json").unlink()  # As it says.
    compare(plan, out)
    assert "Failed" not in write_report(plan, out)[0].read_text()
    assert [path.stat().st_mtime_ns for path in before] == times


def test_runs_whose_logs_and_weights_are_gone_are_still_reported(
    write_plan: Write, out: Path
) -> None:
    own = "mgcn: {settings: {k: 3, embedding_dim: 8}}"
    plan = read_plan(write_plan(*GIVEN, ("  lightgcn:", f"  {own}\n  lightgcn:")))
    for cell in compare(plan, out):
        shutil.rmtree(cell.folder / "run")
    markdown = write_report(plan, out)[0].read_text()
    assert "| mgcn | 2 |" in markdown and "Views of" not in markdown


def test_ablation_without_its_base(write_plan: Write, out: Path) -> None:
    plan = read_plan(write_plan(*GIVEN)).ablation()
    cells = compare(plan, out, baselines=False)
    for cell in cells:
        if cell.entry.base is None:
            (cell.folder / "cell.json").unlink()
    markdown = write_report(plan, out, "ablation")[0].read_text()
    assert "| lightgcn-flat |" in markdown and "Ablation of" not in markdown


def test_models_without_a_search_are_named(write_plan: Write, out: Path) -> None:
    plan = read_plan(write_plan())
    markdown = write_report(plan, out)[0].read_text()
    assert "where it has fewer. The settings of popularity were given." in markdown
    assert "mentor-pyg search --config" in markdown


def test_groups_that_are_empty_keep_their_place(write_plan: Write, out: Path) -> None:
    plan = read_plan(write_plan(*GIVEN)).only(["popularity"])
    (cell,) = compare(plan, out)
    result = cell.result or {}
    of_users = strata_row(write_report(plan, out)[0])[4:]
    result["items"] = result["items"][:2]
    (cell.folder / "cell.json").write_text(json.dumps(result))
    assert strata_row(write_report(plan, out)[0])[2:] == ["", "", *of_users]


def strata_row(path: Path) -> list[str]:
    """Return the cells of the first model in the table by popularity and activity."""
    lines = path.read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| model | items 0 "))
    return [cell.strip() for cell in lines[start + 2].split("|")[2:-1]]


def test_an_ablation_leaves_the_files_of_the_report(write_plan: Write, out: Path) -> None:
    plan = read_plan(write_plan(*GIVEN))
    compare(plan, out)
    write_report(plan, out)
    files = [out / "users-tiny.parquet", out / "figures" / "tiny-curves.png"]
    before = [path.read_bytes() for path in files]
    markdown = write_report(plan.ablation(), out, "ablation")[0].read_text()
    assert [path.read_bytes() for path in files] == before
    assert markdown.startswith("# Ablation\n") and "mentor-pyg ablate --config" in markdown
    assert "mentor-pyg search" not in markdown and "mentor-pyg compare" not in markdown
    assert "ablation-users-tiny.parquet" in markdown and "ablation-tiny-curves.png" in markdown
    found = pd.read_parquet(out / "ablation-users-tiny.parquet")["model"].unique()
    assert set(found) == {"lightgcn", "lightgcn-flat"}


@pytest.mark.parametrize("text", ["{}", "[]", "1"])
def test_what_is_no_result_is_damage(write_plan: Write, out: Path, text: str) -> None:
    plan = read_plan(write_plan(*GIVEN)).only(["popularity"])
    (cell,) = compare(plan, out)
    (cell.folder / "cell.json").write_text(text)
    with pytest.raises(ValueError, match=r"cell.json is damaged .*remove it"):
        compare(plan, out)
    assert "### Failed: popularity" in write_report(plan, out)[0].read_text()


def test_lost_users_are_noticed(write_plan: Write, out: Path) -> None:
    plan = read_plan(write_plan(*GIVEN)).only(["popularity"])
    (cell,) = compare(plan, out)
    (cell.folder / "users.safetensors").unlink()
    with pytest.raises(OSError, match=r"users.safetensors is gone .*remove .*cell.json"):
        compare(plan, out)
