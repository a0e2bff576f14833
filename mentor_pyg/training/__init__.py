"""Training on Lightning Fabric, which the extra ``train`` brings."""

from mentor_pyg.dependencies import require

for _package in ("lightning", "rich", "tensorboard"):
    require(_package, extra="train", purpose="mentor_pyg.training")

from mentor_pyg.training.config import TrainingConfig  # noqa: E402
from mentor_pyg.training.loop import Fit, Hook  # noqa: E402
from mentor_pyg.training.run_folder import RunFolder  # noqa: E402
from mentor_pyg.training.running import train  # noqa: E402

__all__ = ["Fit", "Hook", "RunFolder", "TrainingConfig", "train"]
