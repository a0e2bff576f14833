"""Derivatives of an operation, for comparison with those of the dense matrix."""

import torch
from torch import Tensor


def derivatives(out: Tensor, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Return a curved function's first and second derivatives; ``out`` is what it is taken of.

    They are compared with a reference rather than numerically: a linear map that is wrong in the
    first derivative is right about itself in the second.
    """
    first = torch.autograd.grad(out.pow(3).sum(), inputs, create_graph=True)
    steps = [torch.linspace(-1, 1, g.numel(), dtype=g.dtype).view_as(g) for g in first]
    along = torch.stack([(g * step).sum() for g, step in zip(first, steps, strict=True)]).sum()
    return [out, *first, *torch.autograd.grad(along, inputs)]
