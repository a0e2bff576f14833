"""Training on Lightning: ``pip install 'mentor_pyg[train]'``."""

from mentor_pyg.dependencies import require

for _package in ("lightning", "rich", "tensorboard"):
    require(_package, extra="train", purpose="mentor_pyg.training")

from mentor_pyg.training.callbacks import (  # noqa: E402
    EpochCheckpoint,
    EpochReport,
    EpochSeed,
    EpochTable,
    LossProgressBar,
    PatienceStopping,
)
from mentor_pyg.training.console import run_command  # noqa: E402
from mentor_pyg.training.datamodule import InteractionDataModule  # noqa: E402
from mentor_pyg.training.module import RecommenderModule  # noqa: E402
from mentor_pyg.training.run_folder import RunFolder, next_free_folder  # noqa: E402
from mentor_pyg.training.summary import summarize  # noqa: E402
from mentor_pyg.training.train import TrainingConfig, train  # noqa: E402

__all__ = [
    "EpochCheckpoint",
    "EpochReport",
    "EpochSeed",
    "EpochTable",
    "InteractionDataModule",
    "LossProgressBar",
    "PatienceStopping",
    "RecommenderModule",
    "RunFolder",
    "TrainingConfig",
    "next_free_folder",
    "run_command",
    "summarize",
    "train",
]
