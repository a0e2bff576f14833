"""Recommenders, all through one protocol: encode, score, recommend, loss."""

from mentor_pyg.models.base import Recommender
from mentor_pyg.models.bprmf import BPRMF, BPRMFConfig
from mentor_pyg.models.captured_step import CapturedStep
from mentor_pyg.models.config import ModelConfig
from mentor_pyg.models.lightgcn import LightGCN, LightGCNConfig
from mentor_pyg.models.mentor import MENTOR
from mentor_pyg.models.mentor_config import MENTORConfig
from mentor_pyg.models.random_draws import RandomDraws
from mentor_pyg.models.registry import MODELS, build_model, load_model, save_model

__all__ = [
    "BPRMF",
    "MENTOR",
    "MODELS",
    "BPRMFConfig",
    "CapturedStep",
    "LightGCN",
    "LightGCNConfig",
    "MENTORConfig",
    "ModelConfig",
    "RandomDraws",
    "Recommender",
    "build_model",
    "load_model",
    "save_model",
]
