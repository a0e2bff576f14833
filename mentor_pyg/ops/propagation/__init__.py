"""adjacency @ dense: a file per backend, and what makes layers of it."""

from mentor_pyg.ops.propagation.backends import BACKENDS, Backend, FusedLayer
from mentor_pyg.ops.propagation.layers import propagate_layers
from mentor_pyg.ops.propagation.noise import Noise, add_noise
from mentor_pyg.ops.propagation.operation import choose_backend, edge_dots, propagate

__all__ = [
    "BACKENDS",
    "Backend",
    "FusedLayer",
    "Noise",
    "add_noise",
    "choose_backend",
    "edge_dots",
    "propagate",
    "propagate_layers",
]
