"""Whether a finished run is the one that a plan asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mentor_pyg.files import read_json
from mentor_pyg.models import FittedModel
from mentor_pyg.models.registry import find_model
from mentor_pyg.training import TrainingConfig
from mentor_pyg.training.run_folder import flattened

__all__ = ["changes", "differences", "finished_run"]


def finished_run(
    folder: Path, model: str, settings: Mapping[str, Mapping[str, Any]], seed: int, data: str
) -> dict[str, Any] | None:
    """Return the metrics of a run that has ended, or ``None`` if it has not.

    Args:
        folder: The run's folder.
        model: The name of the model that it has to be of.
        settings: Likewise ``settings`` and ``training``.
        seed: Likewise the seed.
        data: Likewise the checksum of the dataset.

    Raises:
        ValueError: If they are of another run, or their file is damaged.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        return None
    mend = f"remove {folder} to have it trained anew"
    with read_json(path, mend) as found:
        metrics: dict[str, Any] = found
        config = metrics["config"]
    if changed := changes(config, model, settings, seed, data):
        raise ValueError(f"{folder} holds a run of other settings or data ({changed}); {mend}")
    return metrics


def changes(
    ran: Mapping[str, Any],
    model: str,
    settings: Mapping[str, Mapping[str, Any]],
    seed: int,
    data: str,
) -> str:
    """Return what differs between a finished run and the one that is asked for; nothing if none.

    A setting that is younger than the run had its default.

    Args:
        ran: The run's ``config``, as ``metrics.json`` has it.
        model: The name of the model.
        settings: Its ``settings`` and ``training``.
        seed: The seed.
        data: The checksum of the dataset.
    """
    cls, training = find_model(model), {**settings["training"], "seed": seed}
    of_model = cls.Config

    def trained(values: Mapping[str, Any]) -> dict[str, Any]:
        # How they are trained is nothing to models without gradients, and where to no run.
        some = {"k": values["k"]} if issubclass(cls, FittedModel) else dict(values)
        return {**some, "device": None}

    asked = {
        "model": cls.name,
        "settings": of_model.from_dict(settings["settings"]).to_dict(),
        "training": trained(TrainingConfig.from_dict(training).to_dict()),
        "data": data,
    }
    found = {
        "model": ran["model"]["name"],
        "settings": {**of_model().to_dict(), **ran["model"]["settings"]},
        "training": trained({**TrainingConfig().to_dict(), **ran["training"]}),
        "data": ran["data"]["sha256"],
    }
    if asked["model"] != found["model"]:
        return f"the model was {found['model']}, now {asked['model']}"
    return differences(found, asked)


def differences(found: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Return what differs between nested values, as JSON has them; nothing if nothing does."""
    before, now = (flattened(json.loads(json.dumps(parts))) for parts in (found, asked))
    return ", ".join(
        f"{key} was {before.get(key)}, now {now.get(key)}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    )
