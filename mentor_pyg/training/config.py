"""Settings of training runs."""

from __future__ import annotations

from dataclasses import dataclass

from mentor_pyg.config import AtLeastOne, Config, Positive, Seed
from mentor_pyg.devices import resolve_device
from mentor_pyg.sampling import BatchUnit

__all__ = ["TrainingConfig"]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Config):
    """Settings of a training run."""

    lr: Positive = 1e-3
    """Learning rate of the optimiser."""
    batches: BatchUnit = "interactions"
    """What batches are made of: ``"interactions"``, or ``"users"`` with all of theirs."""
    batch_size: AtLeastOne = 2048
    """Interactions, or users, per batch."""
    epochs: AtLeastOne = 1000
    """The most epochs to train; a run can be resumed with more."""
    patience: AtLeastOne = 20
    """Epochs without a better validation recall after which to stop; likewise."""
    seed: Seed = 0
    """The one seed of parameters, batches, negatives and noise."""
    k: tuple[AtLeastOne, ...] = (10, 20)
    """Lengths of ranking to measure; the longest selects."""
    device: str = "auto"
    """``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:<index>"``."""
    cuda_graph: bool = False
    """Whether training steps are replayed from a CUDA graph, on CUDA."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.k:
            raise ValueError("'k' needs at least one length of ranking (got none)")
        device = resolve_device(self.device)
        if self.cuda_graph and device.type != "cuda":
            raise ValueError(f"'cuda_graph' needs a CUDA device (got {device}); leave it out")
        if self.cuda_graph and self.batches == "users":
            raise ValueError("'cuda_graph' needs batches of one size, of 'interactions'")
