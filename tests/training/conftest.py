import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import safetensors.torch
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.training import TrainingConfig, train

# Stops before the last epoch, some epochs after the best, which is not the first.
CONFIG = TrainingConfig(
    epochs=15, patience=2, batch_size=128, lr=0.1, k=(5, 10), device="cpu", seed=4
)


class Run(NamedTuple):
    """A run that was not interrupted."""

    out: Path
    config: TrainingConfig
    metrics: dict[str, Any]

    @property
    def table(self) -> list[dict[str, float]]:
        """The values of every epoch."""
        with (self.out / "logs" / "csv" / "metrics.csv").open(newline="") as file:
            return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]

    @property
    def steps(self) -> int:
        return 3 * len(self.table)

    def assert_equals(self, out: Path) -> None:
        """Compare with another run: results, values of every epoch, and weights, bit by bit."""
        results = [json.loads((path / "metrics.json").read_text()) for path in (out, self.out)]
        for result in results:
            del result["seconds"]
        assert results[0] == results[1]
        tables = [(path / "logs" / "csv" / "metrics.csv").read_text() for path in (out, self.out)]
        assert tables[0] == tables[1]
        got, expected = (
            safetensors.torch.load_file(path / "model.safetensors") for path in (out, self.out)
        )
        assert got.keys() == expected.keys()
        assert all(torch.equal(got[name], expected[name]) for name in got)


@pytest.fixture(scope="session")
def data() -> HeteroData:
    return SyntheticMultimodal("tiny")[0]


@pytest.fixture(scope="session")
def run() -> Callable[..., Run]:
    """Train: ``run(data, out, model="mentor", settings=..., **changes of the config)``."""

    def run(data: HeteroData, out: Path, model: str = "mentor", **changes: Any) -> Run:
        settings = changes.pop("settings", {"embedding_dim": 8})
        config = CONFIG.replace(**changes)
        return Run(out, config, train(model, data, out, settings=settings, config=config))

    return run


@pytest.fixture(scope="session")
def whole(
    run: Callable[..., Run], data: HeteroData, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """A run with everything as it comes."""
    return run(data, tmp_path_factory.mktemp("runs") / "whole")
