import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mentor_pyg import dependencies
from tests.cli.conftest import Command

pytest.importorskip("optuna")


@pytest.fixture
def plan(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(f"""
data: {{tiny: {folder}}}
models:
  popularity: {{}}
  item_knn: {{search: {{settings.k: [5, 20]}}}}
  bprmf: {{settings: {{embedding_dim: 8}}, variants: {{wide: {{settings.embedding_dim: 16}}}}}}
training: {{epochs: 2, device: cpu}}
seeds: [0]
trials: 2
""")
    return path


def test_search_then_compare_then_ablate(command: Command, plan: Path, tmp_path: Path) -> None:
    args = ("--config", plan, "--out", tmp_path / "out")
    done = command("search", *args)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[-1].startswith("item_knn on tiny: {'k': ")
    done = command("compare", *args)
    assert (done.status, done.err) == (0, "")
    report = tmp_path / "out" / "report.md"
    assert done.out.splitlines()[-2:] == [
        f"written to {report}",
        f"written to {report.with_suffix('.html')}",
    ]
    assert "| item_knn |" in report.read_text()
    done = command("ablate", *args)
    assert done.status == 0 and "epoch" not in done.out  # compare has trained all of it.
    ablation = report.with_name("ablation.md").read_text()
    assert "### Ablation of bprmf" in ablation and "| item_knn |" not in ablation


def test_only_some_of_the_models(
    command: Command, refused: Callable[..., None], plan: Path, tmp_path: Path
) -> None:
    args, page = ("--config", plan, "--out", tmp_path / "out"), tmp_path / "docs" / "page.md"
    done = command("compare", *args, "--only", "bprmf", "--page", page)
    assert (done.status, done.err) == (0, "")
    trained = {path.name for path in (tmp_path / "out" / "cells" / "tiny").iterdir()}
    assert trained == {"bprmf", "bprmf-wide"}
    command("compare", *args, "--only", "popularity", "--page", page)
    text = page.read_text()
    assert "| bprmf-wide |" in text and "| popularity |" in text
    assert "1 cells are still to be trained" in text and f"--config {plan}" in text
    assert "Training curves" not in text and "](" not in text
    assert "Training curves" in (tmp_path / "out" / "report.md").read_text()
    refused("labels of the plan, popularity, item_knn.* .got 'easy'", "search", *args,
            "--only", "easy")  # fmt: skip


def test_failed_cells_give_status_2_and_a_report(
    command: Command, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = plan.read_text().replace(" {search: {settings.k: [5, 20]}}", " {}")
    plan.write_text(
        text.replace("embedding_dim: 16", "precision: tf32x3, settings.ranking_loss: softmax")
    )
    done = command("compare", "--config", plan, "--out", tmp_path / "out")
    assert done.status == 2
    assert done.err.splitlines()[-1] == "error: 1 of 4 cells failed; the report has them"
    assert "Failed: bprmf-wide, seed 0" in (tmp_path / "out" / "report.md").read_text()


def test_refuses(refused: Callable[..., None], plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(
        "still to be searched; run `mentor-pyg search`", "compare", "--config", plan, "--out", out
    )
    refused("no file .*absent", "search", "--config", tmp_path / "absent", "--out", out)
    plan.write_text(plan.read_text().replace("variants: {wide: {settings.embedding_dim: 16}}", ""))
    refused("no model of the plan has 'variants'", "ablate", "--config", plan, "--out", out)
    nothing = ("search", "--config", plan, "--out", out, "--only", "popularity")
    refused("plan.yaml: no model has a 'search', such as", *nothing)


@pytest.mark.parametrize("package", ["pyarrow", "matplotlib"])
@pytest.mark.parametrize("name", ["compare", "ablate"])
def test_what_the_report_needs_is_there_before_training(
    refused: Callable[..., None],
    plan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    package: str,
) -> None:
    monkeypatch.setattr(dependencies, "has_package", lambda name: name != package)
    message = f"A report needs the package '{package}'.* the extra 'experiments'"
    refused(message, name, "--config", plan, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_cell_of_a_variant_with_features_missing_says_where_its_numbers_are(
    command: Command, refused: Callable[..., None], plan: Path, tmp_path: Path, folder: Path
) -> None:
    text = plan.read_text().replace(
        "wide: {settings.embedding_dim: 16}",
        "deaf: {without: [textual]}, less: {missing: {share: 0.5}}",
    )
    plan.write_text(text)
    out = tmp_path / "out"
    assert command("ablate", "--config", plan, "--out", out).status == 0
    for label in ("bprmf", "bprmf-deaf"):
        cell = out / "cells" / "tiny" / label / "seed-0"
        done = command("evaluate", cell / "run", "--k", "10")
        recall = json.loads((cell / "cell.json").read_text())["test"]["recall@10"]
        assert (done.status, done.out.splitlines()[0].split()[1]) == (0, f"{recall:.4f}")
    run = out / "cells" / "tiny" / "bprmf-less" / "seed-0" / "run"
    numbers = rf"or read its numbers in {run.parent / 'cell.json'}: where its plan has 'missing'"
    refused(f"does not say where its data are; give --data, {numbers}", "evaluate", run)
    refused(f"give these with --data, {numbers}", "evaluate", run, "--data", folder)
