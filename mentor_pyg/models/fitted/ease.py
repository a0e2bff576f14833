"""EASE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.config import Positive
from mentor_pyg.data import Inputs, Scorer
from mentor_pyg.graph import ItemLists
from mentor_pyg.models.fitted.memory import available_memory
from mentor_pyg.models.fitted.smoothing import SmoothedModel, SmoothingConfig
from mentor_pyg.models.fitted.sparse import interaction_matrix, scipy_
from mentor_pyg.models.registry import register

__all__ = ["EASE", "EASEConfig"]

_BYTES_PER_ENTRY = 8 + 4 
