"""Negatives and batches, vectorised, on the device of the data."""

from mentor_pyg.data import Batch, UserBatch
from mentor_pyg.sampling.batches import BATCHES, BatchUnit, BPRBatches, UserBatches, mix_seed
from mentor_pyg.sampling.negatives import UniformNegativeSampler

__all__ = [
    "BATCHES",
    "BPRBatches",
    "Batch",
    "BatchUnit",
    "UniformNegativeSampler",
    "UserBatch",
    "UserBatches",
    "mix_seed",
]
