"""Noise of fixed length on rows, which graph perturbation adds after every layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.ops.uniform import uniform_like

__all__ = ["Noise", "add_noise"]


@dataclass(frozen=True, eq=False)
class Noise:
    r"""What one layer's rows get: :math:`\epsilon\, \mathrm{sign}(h) \odot u / \Vert u \Vert`.

    Args:
        scale: The length :math:`\epsilon` of every row's noise.
        draws: The draws :math:`u` from U[0, 1) ``[N, d]``; if not given, whoever adds the noise
            draws its own, following ``torch.manual_seed``.
    """

    scale: float
    draws: Tensor | None = None


def add_noise(h: Tensor, noise: Noise | None) -> Tensor:
    """Return rows ``[N, d]`` with noise added; differentiable, with the noise as a constant.

    Args:
        h: The rows.
        noise: The noise; ``None`` gives ``h`` back.
    """
    if noise is None:
        return h
    draws = uniform_like(h) if noise.draws is None else noise.draws.to(h.dtype)
    return h + h.sign() * F.normalize(draws, dim=-1) * noise.scale
