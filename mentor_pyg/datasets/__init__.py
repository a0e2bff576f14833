"""Files -> HeteroData: interaction folders, and synthetic data."""

from mentor_pyg.datasets.interaction_folder import InteractionFolder
from mentor_pyg.datasets.synthetic import SYNTHETIC_SIZES, SyntheticMultimodal, SyntheticSize

__all__ = ["SYNTHETIC_SIZES", "InteractionFolder", "SyntheticMultimodal", "SyntheticSize"]
