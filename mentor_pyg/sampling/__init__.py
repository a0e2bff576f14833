"""Negatives and batches, vectorised, on the device of the data."""

from mentor_pyg.data import Batch
from mentor_pyg.sampling.batches import BPRBatches, mix_seed
from mentor_pyg.sampling.negatives import UniformNegativeSampler

__all__ = ["BPRBatches", "Batch", "UniformNegativeSampler", "mix_seed"]
