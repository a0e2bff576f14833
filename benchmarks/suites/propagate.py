"""Sparse products on the interaction graph, forward and backward, by every backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from cases import CannotRunError, Case, Setting, Work
from counts import propagate_gbyte, propagate_gflop
from dataset import load
from references import close
from torch import Tensor

from mentor_pyg.data import INTERACTS
from mentor_pyg.graph import Adjacency, interaction_adjacency
from mentor_pyg.ops import BACKENDS, Noise, propagate, propagate_layers

__all__ = [
    "INTERPRETED",
    "backend_cases",
    "cases",
    "lay_out",
    "refuse_unavailable",
    "value_and_gradient",
]

INTERPRETED = "Triton has no CPU compiler; its interpreter is for tests"

_LAYERS = 2
_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
_NOISY = 3e-4
"""Noise has the sign of its entry, and an entry near 0 may have another by rounding."""


def cases(setting: Setting) -> list[Case]:
    """Return one product at several widths, and all layers at once with their noise."""
    one = "forward + backward"
    found = [
        *backend_cases("propagate", f"width 64, {one}", partial(_one, (64,)), setting),
        *backend_cases("propagate", f"width 128, {one}", partial(_one, (128,)), setting),
        *backend_cases("propagate", f"3 slabs of width 64, {one}", partial(_one, (3, 64)), setting),
        *backend_cases("propagate", f"2 layers, summed, width 64, {one}", _layers, setting),
        *backend_cases(
            "propagate",
            f"2 noisy layers, summed, width 64, {one}",
            partial(_layers, noisy=True),
            setting,
        ),
    ]
    if setting.device == "cuda":
        half = partial(_one, (64,), dtype=torch.bfloat16)
        found += backend_cases("propagate", f"width 64 in bfloat16, {one}", half, setting)
    return found


def backend_cases(
    suite: str, name: str, prepare: Callable[..., Work], setting: Setting
) -> list[Case]:
    """Return a case for every backend; ``prepare`` takes it as ``backend``."""
    return [
        Case(
            suite,
            name,
            backend,
            partial(prepare, backend=backend),
            INTERPRETED if backend == "triton" and setting.device == "cpu" else None,
        )
        for backend in BACKENDS
    ]


def refuse_unavailable(adjacency: Adjacency, x: Tensor, backend: str) -> None:
    """Raise where a backend cannot run on these inputs."""
    if backend != "auto" and (reason := BACKENDS[backend].unavailable(adjacency, x)):
        raise CannotRunError(reason)


def lay_out(adjacency: Adjacency, x: Tensor, backend: str) -> None:
    """Let what is loaded, and laid out once a graph, not count as the memory of a call."""
    column = x.detach()[..., :1].contiguous().requires_grad_()
    value_and_gradient(partial(propagate, adjacency, backend=backend), column, None)


def value_and_gradient(
    function: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return what ``function`` gives for ``x`` and the gradient of ``x`` for ``grad`` (ones)."""
    out = function(x)
    (gradient,) = torch.autograd.grad(out, x, torch.ones_like(out) if grad is None else grad)
    return out.detach(), gradient


def _one(
    shape: tuple[int, ...],
    setting: Setting,
    *,
    backend: str,
    dtype: torch.dtype = torch.float32,
) -> Work:
    adjacency = _adjacency(setting)
    views, width = shape[:-1], shape[-1]

    def function(x: Tensor, name: str = backend) -> Tensor:
        return propagate(adjacency, x, name)

    work = _work(function, adjacency, (*views, adjacency.num_sources, width), dtype, backend)
    products = 2 * (views[0] if views else 1)
    return replace(
        work,
        gflop=propagate_gflop(adjacency, width, products),
        gbyte=propagate_gbyte(adjacency, width, products, dtype.itemsize),
    )


def _adjacency(setting: Setting) -> Adjacency:
    edge_index = load(setting)[INTERACTS].edge_index
    return interaction_adjacency(edge_index, setting.num_users, setting.num_items)


def _layers(setting: Setting, *, backend: str, noisy: bool = False) -> Work:
    adjacency = _adjacency(setting)
    shape = (adjacency.num_sources, 64)

    def function(x: Tensor, name: str = backend, noise: Sequence[Noise | None] = ()) -> Tensor:
        if noisy and not noise:  # Timed with the draws that a training step makes.
            noise = [Noise(0.1)] * _LAYERS
        return propagate_layers(adjacency, x, _LAYERS, noise or None, name)

    work = _work(function, adjacency, shape, torch.float32, backend)

    def check(_: object) -> str:
        x = torch.randn(shape, device=setting.device, requires_grad=True)
        grad = torch.randn_like(x)
        draws = torch.rand(_LAYERS, *shape, device=setting.device)
        noise = [Noise(0.1, u) for u in draws] if noisy else []
        noisy_function = partial(function, noise=noise)
        got = value_and_gradient(partial(noisy_function, name=backend), x, grad)
        tolerance = _NOISY if noisy else _TOLERANCE[x.dtype]
        _compare(got, noisy_function, x, grad, tolerance)
        return "values and gradients against naive, on the same noise"

    return replace(
        work,
        check=check,
        gflop=propagate_gflop(adjacency, 64, 2 * _LAYERS),
        gbyte=propagate_gbyte(adjacency, 64, 2 * _LAYERS),
    )


def _work(
    function: Callable[..., Tensor],
    adjacency: Adjacency,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    backend: str,
) -> Work:
    x = torch.randn(shape, device=adjacency.device, dtype=dtype, requires_grad=True)
    grad = torch.randn_like(x)
    refuse_unavailable(adjacency, x, backend)
    lay_out(adjacency, x, backend)

    def check(result: tuple[Tensor, Tensor]) -> str:
        # The reference itself adds up in bfloat16, and so worse than what has to match it.
        tolerance = 0.1 if (backend, dtype) == ("naive", torch.bfloat16) else _TOLERANCE[dtype]
        _compare(result, function, x, grad, tolerance)
        return "values and gradients against naive"

    return Work(lambda: value_and_gradient(function, x, grad), check)


def _compare(
    got: tuple[Tensor, Tensor],
    function: Callable[..., Tensor],
    x: Tensor,
    grad: Tensor,
    tolerance: float,
) -> None:
    """Compare with the reference in float32, from the same inputs."""
    wide = x.detach().float().requires_grad_()
    expected = value_and_gradient(partial(function, name="naive"), wide, grad.float())
    for name, a, b in zip(("value", "gradient"), got, expected, strict=True):
        close(name, a, b, tolerance)
