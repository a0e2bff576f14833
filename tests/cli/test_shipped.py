import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import mentor_pyg
from mentor_pyg.cli.shipped import config_file, config_names
from mentor_pyg.models.registry import find_model
from mentor_pyg.training import TrainingConfig


def test_there_are_some() -> None:
    assert {"mentor-tiktok", "mentor-baby", "lightgcn-baby", "bprmf-sports"} <= set(config_names())


def test_files_come_before_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = config_file("lightgcn-baby")
    assert shipped == Path(mentor_pyg.__file__).parent / "configs" / "lightgcn-baby.yaml"
    monkeypatch.chdir(tmp_path)
    Path("lightgcn-baby").touch()
    assert config_file("lightgcn-baby") == Path("lightgcn-baby")


@pytest.mark.parametrize("name", config_names())
def test_builds_the_configs_of_its_model(name: str) -> None:
    values: dict[str, Any] = yaml.safe_load(config_file(name).read_text())
    assert values.keys() == {"model", "settings", "training"}
    assert name.rpartition("-")[0] == values["model"]
    find_model(values["model"]).Config.from_dict(values["settings"])
    TrainingConfig.from_dict(values["training"])


@pytest.mark.parametrize("name", config_names())
def test_every_value_says_where_it_comes_from(name: str) -> None:
    first, *lines = config_file(name).read_text().splitlines()
    assert first.startswith("# ")
    for line in lines:
        if re.match(r"  \w+: ", line) and "semantics:" not in line:
            assert re.search(
                r"  # .*(docs/(results|trials).md|published in arXiv \d{4}\.\d{5})", line
            ), line
