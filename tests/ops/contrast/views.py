"""Views to contrast, and ways to compare what comes out."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Views = tuple[Tensor, Tensor]


def random_views(num_rows: int, dtype: torch.dtype = torch.float32, channels: int = 6) -> Views:
    generator = torch.Generator().manual_seed(num_rows)
    a = torch.randn(num_rows, channels, generator=generator, dtype=torch.float64)
    b = a + 0.5 * torch.randn(num_rows, channels, generator=generator, dtype=torch.float64)
    return 3 * a.to(dtype), b.to(dtype)


def value_and_grads(
    loss: Callable[[Tensor, Tensor], Tensor], views: Views
) -> tuple[Tensor, Tensor, Tensor]:
    a, b = (view.clone().requires_grad_() for view in views)
    value = loss(a, b)
    grad_a, grad_b = torch.autograd.grad(2 * value, (a, b))
    return value.detach(), grad_a, grad_b


def assert_near(actual: Tensor, expected: Tensor, relative: float) -> None:
    """Compare within ``relative`` of the largest entry."""
    scale = float(expected.abs().max())
    torch.testing.assert_close(
        actual.double(), expected.double(), rtol=0, atol=relative * scale + 1e-30
    )


class LargestResult(TorchDispatchMode):
    """Records the most entries of any floating-point tensor that an operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        out = func(*args, **(kwargs or {}))
        for result in out if isinstance(out, tuple | list) else (out,):
            if isinstance(result, Tensor) and result.is_floating_point():
                self.numel = max(self.numel, result.numel())
        return out
