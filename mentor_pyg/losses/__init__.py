"""Losses: for each a pure function and a thin module around it."""

from mentor_pyg.losses.bpr import BPRLoss, bpr_loss
from mentor_pyg.losses.cosine import CosineLoss, cosine_loss
from mentor_pyg.losses.gaussian import (
    GaussianAlignmentLoss,
    Moments,
    Statistics,
    gaussian_alignment_loss,
    moments,
)
from mentor_pyg.losses.info_nce import (
    INFO_NCE_BACKENDS,
    InfoNCELoss,
    info_nce,
    info_nce_unavailable,
)

__all__ = [
    "INFO_NCE_BACKENDS",
    "BPRLoss",
    "CosineLoss",
    "GaussianAlignmentLoss",
    "InfoNCELoss",
    "Moments",
    "Statistics",
    "bpr_loss",
    "cosine_loss",
    "gaussian_alignment_loss",
    "info_nce",
    "info_nce_unavailable",
    "moments",
]
