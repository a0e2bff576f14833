"""Self-supervised heads on top of representations."""

from mentor_pyg.nn.heads.alignment import AlignmentLevel, CrossModalAlignment
from mentor_pyg.nn.heads.masking import FeatureMasking
from mentor_pyg.nn.heads.perturbation import GraphPerturbation

__all__ = ["AlignmentLevel", "CrossModalAlignment", "FeatureMasking", "GraphPerturbation"]
