"""Negatives and batches, vectorised, on the device of the data."""

from mentor_pyg.sampling.batches import Batch, BPRBatches
from mentor_pyg.sampling.negatives import UniformNegativeSampler

__all__ = ["BPRBatches", "Batch", "UniformNegativeSampler"]
