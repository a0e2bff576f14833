"""Losses: a pure function for each, of scores, rows or statistics."""

from mentor_pyg.losses.bpr import bpr_loss
from mentor_pyg.losses.contrastive import info_nce
from mentor_pyg.losses.cosine import cosine_loss
from mentor_pyg.losses.gaussian import Moments, Statistics, gaussian_alignment_loss, moments
from mentor_pyg.losses.softmax import (
    SOFTMAX_BACKENDS,
    Similarity,
    softmax_loss,
    softmax_unavailable,
)

__all__ = [
    "SOFTMAX_BACKENDS",
    "Moments",
    "Similarity",
    "Statistics",
    "bpr_loss",
    "cosine_loss",
    "gaussian_alignment_loss",
    "info_nce",
    "moments",
    "softmax_loss",
    "softmax_unavailable",
]
