"""Models, trained and fitted ones, all through one protocol."""

from mentor_pyg.models.base import FeatureConfig, GraphFeatureConfig, ModelConfig, Recommender
from mentor_pyg.models.bm3 import BM3, BM3Config
from mentor_pyg.models.bprmf import BPRMF, BPRMFConfig
from mentor_pyg.models.captured_step import CapturedStep
from mentor_pyg.models.cohesion import COHESION, COHESIONConfig
from mentor_pyg.models.draws import Draws
from mentor_pyg.models.dualgnn import DualGNN, DualGNNConfig
from mentor_pyg.models.extension import extend
from mentor_pyg.models.files import load_model, save_model
from mentor_pyg.models.fitted import (
    EASE,
    ContentKNN,
    ContentKNNConfig,
    EASEConfig,
    FittedModel,
    ItemKNN,
    ItemKNNConfig,
    Popularity,
    PopularityConfig,
    RP3Beta,
    RP3BetaConfig,
    UserKNN,
    UserKNNConfig,
)
from mentor_pyg.models.freedom import FREEDOM, FREEDOMConfig
from mentor_pyg.models.grcn import GRCN, GRCNConfig
from mentor_pyg.models.gume import GUME, GUMEConfig
from mentor_pyg.models.lattice import LATTICE, LATTICEConfig
from mentor_pyg.models.layergcn import LayerGCN, LayerGCNConfig
from mentor_pyg.models.lightgcn import LightGCN, LightGCNConfig
from mentor_pyg.models.mentor import MENTOR, MENTORConfig
from mentor_pyg.models.mentor_plus import MENTORPlus, MENTORPlusConfig
from mentor_pyg.models.mgcn import MGCN, MGCNConfig
from mentor_pyg.models.mmgcn import MMGCN, MMGCNConfig
from mentor_pyg.models.mmhcl import MMHCL, MMHCLConfig
from mentor_pyg.models.mmssl import MMSSL, MMSSLConfig
from mentor_pyg.models.model import Model
from mentor_pyg.models.objective import Objective, adam
from mentor_pyg.models.pgl import PGL, PGLConfig
from mentor_pyg.models.ranking import ranking_terms
from mentor_pyg.models.registry import MODELS, build_model, register
from mentor_pyg.models.slmrec import SLMRec, SLMRecConfig
from mentor_pyg.models.smore import SMORE, SMOREConfig
from mentor_pyg.models.step import Step
from mentor_pyg.models.vbpr import VBPR, VBPRConfig

__all__ = [
    "BM3",
    "BPRMF",
    "COHESION",
    "EASE",
    "FREEDOM",
    "GRCN",
    "GUME",
    "LATTICE",
    "MENTOR",
    "MGCN",
    "MMGCN",
    "MMHCL",
    "MMSSL",
    "MODELS",
    "PGL",
    "SMORE",
    "VBPR",
    "BM3Config",
    "BPRMFConfig",
    "COHESIONConfig",
    "CapturedStep",
    "ContentKNN",
    "ContentKNNConfig",
    "Draws",
    "DualGNN",
    "DualGNNConfig",
    "EASEConfig",
    "FREEDOMConfig",
    "FeatureConfig",
    "FittedModel",
    "GRCNConfig",
    "GUMEConfig",
    "GraphFeatureConfig",
    "ItemKNN",
    "ItemKNNConfig",
    "LATTICEConfig",
    "LayerGCN",
    "LayerGCNConfig",
    "LightGCN",
    "LightGCNConfig",
    "MENTORConfig",
    "MENTORPlus",
    "MENTORPlusConfig",
    "MGCNConfig",
    "MMGCNConfig",
    "MMHCLConfig",
    "MMSSLConfig",
    "Model",
    "ModelConfig",
    "Objective",
    "PGLConfig",
    "Popularity",
    "PopularityConfig",
    "RP3Beta",
    "RP3BetaConfig",
    "Recommender",
    "SLMRec",
    "SLMRecConfig",
    "SMOREConfig",
    "Step",
    "UserKNN",
    "UserKNNConfig",
    "VBPRConfig",
    "adam",
    "build_model",
    "extend",
    "load_model",
    "ranking_terms",
    "register",
    "save_model",
]
