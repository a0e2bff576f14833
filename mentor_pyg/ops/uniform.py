"""Uniform random numbers, in bulk."""

import numpy as np
import torch
from torch import Tensor

__all__ = ["uniform_like"]


def uniform_like(x: Tensor) -> Tensor:
    """Return draws from U[0, 1) of the shape, dtype and device of ``x``.

    Equals ``torch.rand_like(x)`` in distribution, and like it follows ``torch.manual_seed``. On
    the CPU, where torch draws one number after another, a NumPy generator seeded by torch's takes
    less than half the time. Compiled and exported graphs, which NumPy would break, hold
    ``torch.rand_like`` itself, so their draws are others than those of plain calls.

    Args:
        x: A floating-point tensor, for its shape, dtype and device.
    """
    is_traced = torch.compiler.is_compiling()  # By torch.compile, or for export.
    if is_traced or x.device.type != "cpu" or x.dtype != torch.float32:
        return torch.rand_like(x)
    seed = int(torch.randint(2**63 - 1, ()))
    draws = np.random.Generator(np.random.SFC64(seed)).random(x.shape, dtype=np.float32)
    return torch.from_numpy(draws)
