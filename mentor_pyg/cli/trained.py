"""What a run folder holds, ready to rank."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from mentor_pyg.files import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch_geometric.data import HeteroData

    from mentor_pyg.data import Scorer
    from mentor_pyg.models import Model
    from mentor_pyg.typing import Modality

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

    source, checksum, known = data_source(run, data)
    weights = run / "model.safetensors"
    if not weights.exists():
        raise FileNotFoundError(
            f"{run} holds a run that is not finished (it has no {weights.name}); go on with it by "
            f"the command that began it, with --out {shlex.quote(str(run))}"
        )
    try:
        dataset = read_source(source)
    except FileNotFoundError as error:
        if data is None:
            raise FileNotFoundError(
                f"{error}, or give with --data where those that {run} was trained on are now"
            ) from error
        raise
    found = _as_trained_on(dataset, checksum, known)
    if found is None:
        raise ValueError(
            f"the data of {source} are not those that {run} was trained on: interactions or "
            f"features have changed since; give these with --data{_or_cell(run)}"
        )
    return load_model(weights, found), found


def data_source(run: Path, data: Path | None = None) -> tuple[str, str, list[Modality] | None]:
    """Return where a run's data are, a folder or ``"synthetic"``, and what is known of them.

    That is their checksum and, unless the run is of an older version, their modalities. Takes and
    raises what :func:`load_run` does.
    """
    path = run / "settings.json"
    if not path.exists():
        raise FileNotFoundError(
            f"{run} is no run folder (it has no {path.name}); give one that `mentor-pyg train` "
            f"wrote to"
        )
    with read_json(path, "put a copy in its place, or train anew in another folder") as values:
        about, checksum = values["environment"], values["data"]["sha256"]
        recorded = about.get("data")
    if data is None and recorded is None:
        raise ValueError(f"{run} does not say where its data are; give --data{_or_cell(run)}")
    return str(data or recorded), checksum, about.get("modalities")


def _or_cell(run: Path) -> str:
    """Return what else there is to do with a run of a comparison."""
    cell = run.absolute().parent / "cell.json"
    if not cell.exists():
        return ""
    return (
        f", or read its numbers in {cell}: where its plan has 'missing', it was trained on data "
        f"that are in no folder"
    )


def _as_trained_on(
    data: HeteroData, checksum: str, known: Sequence[Modality] | None
) -> HeteroData | None:
    """Return the data that have a checksum, as they are or, for a refitted model, joined.

    Modalities that the run did not know have come since, and are left out.
    """
    from mentor_pyg.data import fingerprint, modalities
    from mentor_pyg.transforms import JoinSplits, RemoveModalities

    if since := [m for m in modalities(data) if known is not None and m not in known]:
        data = RemoveModalities(since)(data)
    if checksum == fingerprint(data):
        return data
    joined: HeteroData = JoinSplits()(data)
    return joined if checksum == fingerprint(joined) else None
