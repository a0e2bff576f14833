"""Losses: a pure function for each, of scores, rows or statistics."""

from mentor_pyg.losses.bpr import bpr_loss
from mentor_pyg.losses.contrastive import INFO_NCE_BACKENDS, info_nce, info_nce_unavailable
from mentor_pyg.losses.cosine import cosine_loss
from mentor_pyg.losses.gaussian import Moments, Statistics, gaussian_alignment_loss, moments

__all__ = [
    "INFO_NCE_BACKENDS",
    "Moments",
    "Statistics",
    "bpr_loss",
    "cosine_loss",
    "gaussian_alignment_loss",
    "info_nce",
    "info_nce_unavailable",
    "moments",
]
