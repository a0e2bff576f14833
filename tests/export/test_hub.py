import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.models import load_model
from mentor_pyg.training import TrainingConfig, train

pytest.importorskip("huggingface_hub")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mentor_pyg.datasets import SyntheticMultimodal

    out = tmp_path_factory.mktemp("run") / "run"
    config = TrainingConfig(epochs=1, seed=5, device="cpu")
    settings = {"embedding_dim": 4}
    data = SyntheticMultimodal("tiny")[0]
    train("bprmf", data, out, settings=settings, config=config, source="/home/me/secret")
    return out


def test_is_the_same_model_again(run: Path, tmp_path: Path, tiny_data: HeteroData) -> None:
    from mentor_pyg.export.hub import HubModel

    HubModel(run).save_pretrained(tmp_path)
    found = HubModel.from_pretrained(str(tmp_path)).model
    expected = load_model(run / "model.safetensors", tiny_data)
    assert found.state_dict().keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor)
    # The checksum of the data went along.
    load_model(tmp_path / "model.safetensors", tiny_data)
    other = tiny_data.clone()
    other["user", "interacts", "item"].edge_index = other["user", "interacts", "item"].edge_index[
        :, 1:
    ]
    with pytest.raises(ValueError, match="other data"):
        load_model(tmp_path / "model.safetensors", other)


def test_the_card_says_what_it_was_trained_on_and_how(run: Path, tmp_path: Path) -> None:
    from mentor_pyg.export.hub import HubModel

    HubModel(run).save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    settings = json.loads((run / "settings.json").read_text())
    test = json.loads((run / "metrics.json").read_text())["test"]
    assert card.startswith("---\n") and "library_name: mentor_pyg" in card
    for part in (
        settings["data"]["sha256"],
        "60 users and 80 items",
        "Seed 5",
        '"embedding_dim": 4',
        f"{test['recall@20']:.4f}",
        f"version {settings['environment']['version']}",
    ):
        assert part in card


def test_the_card_of_a_refitted_run_has_no_metrics(run: Path, tmp_path: Path) -> None:
    from mentor_pyg.export.hub import HubModel

    shutil.copytree(run, tmp_path / "refit")
    (tmp_path / "refit" / "metrics.json").write_text('{"epochs": 1}')
    assert "## Metrics" in str(HubModel(run).generate_model_card())
    card = str(HubModel(tmp_path / "refit").generate_model_card())
    assert "## Metrics" not in card and "## Settings" in card


def test_does_not_tell_where_the_data_were(run: Path, tmp_path: Path) -> None:
    from mentor_pyg.export.hub import HubModel

    assert "secret" in (run / "settings.json").read_text()
    HubModel(run).save_pretrained(tmp_path)
    for path in tmp_path.iterdir():
        assert b"secret" not in path.read_bytes()


def test_gets_three_files_from_the_hub(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mentor_pyg.export.hub as module

    calls: list[tuple[str, dict[str, Any]]] = []

    def snapshot(model_id: str, **options: Any) -> str:
        calls.append((model_id, options))
        return str(run)

    monkeypatch.setattr(module._hub, "snapshot_download", snapshot)
    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", _nothing(tmp_path))
    found = module.HubModel.from_pretrained("me/mentor", revision="v1")
    assert found.model.name == "bprmf"
    assert [(name, options["revision"]) for name, options in calls] == [("me/mentor", "v1")]
    assert set(calls[0][1]["allow_patterns"]) == {
        "model.safetensors",
        "settings.json",
        "metrics.json",
    }


def _nothing(folder: Path) -> Callable[..., str]:
    path = folder / "config.json"
    path.write_text("{}")
    return lambda *args, **options: str(path)


def test_a_run_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    from mentor_pyg.export.hub import HubModel

    with pytest.raises(FileNotFoundError, match=r"no finished run \(it has no model.safetensors\)"):
        HubModel(tmp_path)
