"""MENTOR: the model, its settings, and what its released code does otherwise."""

from mentor_pyg.models.mentor.config import MENTORConfig, Semantics
from mentor_pyg.models.mentor.model import MENTOR

__all__ = ["MENTOR", "MENTORConfig", "Semantics"]
