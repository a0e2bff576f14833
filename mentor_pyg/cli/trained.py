"""What a run folder holds, ready to rank."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from mentor_pyg.files import read_json

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from mentor_pyg.data import Scorer
    from mentor_pyg.models import Model

__all__ = ["data_source", "load_run", "open_run"]


def open_run(run: Path, data: Path | None = None) -> tuple[Scorer, HeteroData]:
    """Return what scores the items by the model of a run folder, and the data it was trained on.

    Takes and raises what :func:`load_run` does.
    """
    import torch

    model, dataset = load_run(run, data)
    with torch.no_grad():
        return model.scorer(model.prepare(dataset)), dataset


def load_run(run: Path, data: Path | None = None) -> tuple[Model, HeteroData]:
    """Return the model of a run folder and the data it was trained on.

    Args:
        run: What ``mentor-pyg train`` wrote to, or the folder ``refit`` in it.
        data: The data folder; by default the one that the run remembers.

    Raises:
        OSError: If there is no such folder, or no data.
        ValueError: If it holds no finished run of this version, or the data are others.
    """
    from mentor_pyg.datasets.sources import read_source
    from mentor_pyg.models import load_model

    source, checksum = data_source(run, data)
    weights = run / "model.safetensors"
    if not weights.exists():
        raise FileNotFoundError(
            f"{run} holds a run that is not finished (it has no {weights.name}); go on with it by "
            f"the command that began it, with --out {shlex.quote(str(run))}"
        )
    dataset = _as_trained_on(read_source(source), checksum)
    if dataset is None:
        raise ValueError(
            f"the data of {source} are not those that {run} was trained on (their checksums "
            f"differ); give these with --data{_or_cell(run)}"
        )
    return load_model(weights, dataset), dataset


def data_source(run: Path, data: Path | None = None) -> tuple[str, str]:
    """Return where a run's data are, a folder or ``"synthetic"``, and their checksum.

    Takes and raises what :func:`load_run` does.
    """
    path = run / "settings.json"
    if not path.exists():
        raise FileNotFoundError(
            f"{run} is no run folder (it has no {path.name}); give one that `mentor-pyg train` "
            f"wrote to"
        )
    with read_json(path, "put a copy in its place, or train anew in another folder") as values:
        recorded, checksum = values["environment"].get("data"), values["data"]["sha256"]
    if data is None and recorded is None:
        raise ValueError(f"{run} does not say where its data are; give --data{_or_cell(run)}")
    return str(data or recorded), checksum


def _or_cell(run: Path) -> str:
    """Return what else there is to do with a run of a comparison."""
    cell = run.absolute().parent / "cell.json"
    if not cell.exists():
        return ""
    return (
        f", or read its numbers in {cell}: where its plan has 'without' or 'missing', it was "
        f"trained on data that are in no folder"
    )


def _as_trained_on(data: HeteroData, checksum: str) -> HeteroData | None:
    """Return the data that have a checksum, as they are or, for a refitted model, joined."""
    from mentor_pyg.data import fingerprint
    from mentor_pyg.transforms import JoinSplits

    if checksum == fingerprint(data):
        return data
    joined: HeteroData = JoinSplits()(data)
    return joined if checksum == fingerprint(joined) else None
