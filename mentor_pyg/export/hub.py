"""Trained models on the Hugging Face Hub, with a model card; needs the extra ``hub``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Self

from mentor_pyg.dependencies import require
from mentor_pyg.files import read_json, write_json
from mentor_pyg.models import Model, load_model

__all__ = ["HubModel"]

_hub: Any = require("huggingface_hub", extra="hub", purpose="Sharing models on the Hub")

_WEIGHTS, _SETTINGS, _METRICS = "model.safetensors", "settings.json", "metrics.json"


class HubModel(  # type: ignore[call-arg]  # The package is optional.
    _hub.PyTorchModelHubMixin, library_name="mentor_pyg", tags=["recommendation", "multimodal"]
):
    """A finished run, to be shared and got by the methods of ``PyTorchModelHubMixin``.

    ``HubModel("runs/first").push_to_hub("me/mentor-baby")`` shares it, ``save_pretrained(DIR)``
    writes the same files to a folder, and ``HubModel.from_pretrained("me/mentor-baby").model`` is
    the model. What is shared are its weights as safetensors, which nothing is unpickled from, its
    settings and metrics, and a model card with the checksum of the data, settings, seed and
    metrics; not where the data were on this machine.

    Args:
        run: The folder that a training run wrote to.

    Raises:
        FileNotFoundError: If the folder holds no finished run.
        MissingPackageError: If huggingface-hub is not installed.
    """

    def __init__(self, run: str | Path) -> None:
        self.run = Path(run)
        for name in (_WEIGHTS, _SETTINGS, _METRICS):
            if not (self.run / name).is_file():
                raise FileNotFoundError(f"{self.run} holds no finished run (it has no {name})")
        mend = "put a copy in its place"
        with read_json(self.run / _SETTINGS, mend) as settings:
            self.settings: dict[str, Any] = dict(settings)
        with read_json(self.run / _METRICS, mend) as metrics:
            self.metrics: dict[str, Any] = dict(metrics)
        self._hub_mixin_config = None  # Settings are in settings.json.

    @property
    def model(self) -> Model:
        """The model, read anew, on the CPU and in evaluation mode."""
        return load_model(self.run / _WEIGHTS)

    def _save_pretrained(self, save_directory: Path) -> None:
        environment = {k: v for k, v in self.settings["environment"].items() if k != "data"}
        settings = {**self.settings, "environment": environment}
        write_json(save_directory / _SETTINGS, settings)
        metrics = {k: v for k, v in self.metrics.items() if k in ("val", "test", "best_epoch")}
        write_json(save_directory / _METRICS, metrics)
        shutil.copyfile(self.run / _WEIGHTS, save_directory / _WEIGHTS)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Self:
        if Path(model_id).is_dir():
            return cls(model_id)
        taken = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        folder = _hub.snapshot_download(
            model_id,
            allow_patterns=[_WEIGHTS, _SETTINGS, _METRICS],
            **{name: options[name] for name in taken if name in options},
        )
        return cls(folder)

    def generate_model_card(self, *args: Any, **options: Any) -> Any:
        """Return the model card."""
        model, training = self.settings["model"], self.settings["training"]
        data, environment = self.settings["data"], self.settings["environment"]
        lines = [
            f"# {model['name']}",
            "A recommender trained by mentor_pyg. It is for the users and items that it was "
            "trained with, by number.",
            "```python\n"
            "from mentor_pyg.export.hub import HubModel\n\n"
            'model = HubModel.from_pretrained("...").model  # model.recommend(data, user, k=20)\n'
            "```",
            "## Data",
            f"{data['num_users']:,} users and {data['num_items']:,} items; checksum of the data and"
            f" their split: `{data['sha256']}`.",
            *self._metric_lines(),
            "## Settings",
            f"Seed {training['seed']}; version {environment['version']}, torch "
            f"{environment['torch']}, on {environment['device']}.",
            f"```json\n{json.dumps({'model': model, 'training': training}, indent=2)}\n```",
        ]
        about = _hub.ModelCardData(**{**self._hub_mixin_info.model_card_data.to_dict(), **options})
        return _hub.ModelCard(f"---\n{about.to_yaml()}\n---\n\n" + "\n\n".join(lines) + "\n")

    def _metric_lines(self) -> list[str]:
        """Return the section of metrics, which a run that was refitted on all data has none of."""
        rows = [(split, self.metrics[split]) for split in ("val", "test") if split in self.metrics]
        if not rows:
            return []
        names = [*rows[0][1]]
        table = [f"| split | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
        for split, values in rows:
            table.append(f"| {split} | {' | '.join(f'{values[n]:.4f}' for n in names)} |")
        return [
            "## Metrics",
            f"All items ranked, train items left out; epoch {self.metrics.get('best_epoch')}, "
            f"chosen on validation.",
            "\n".join(table),
        ]
