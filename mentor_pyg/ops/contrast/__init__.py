"""Softmax over all rows of a table, values and gradients streamed: a file per backend."""

from mentor_pyg.ops.contrast.backends import CONTRAST_BACKENDS, ContrastBackend

__all__ = ["CONTRAST_BACKENDS", "ContrastBackend"]
