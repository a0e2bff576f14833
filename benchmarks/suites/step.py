"""A whole training step of MENTOR: losses, backward, Adam."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from typing import Any
from unittest import mock

import torch
from cases import Case, Setting, Work
from counts import step_gflop
from dataset import load
from measure import refuse_beyond_memory
from references import close, info_nce_in_blocks
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import Inputs
from mentor_pyg.losses import info_nce
from mentor_pyg.models import MENTOR, CapturedStep, Draws, MENTORConfig
from mentor_pyg.sampling import Batch, BPRBatches
from suites.infonce import NAIVE_BYTES, TOLERANCE, refuse_precision

__all__ = ["CONFIGS", "cases", "check_loss", "fixed_draws", "prepare", "step_work", "train_step"]

CONFIGS: dict[str, dict[str, Any]] = {
    "released semantics, full contrast": {"semantics": "released"},
    "paper semantics, full contrast": {"semantics": "paper"},
    "paper semantics, batch contrast": {"semantics": "paper", "contrast": "batch"},
}
"""The settings that are measured, by name."""

_NOISY = 1e-3
"""Noise has the sign of its entry, and an entry near 0 may have another by rounding."""

_PRECISIONS = {"cpu": ("ieee", "bf16"), "cuda": ("ieee", "tf32", "bf16")}


def cases(setting: Setting) -> list[Case]:
    """Return every configuration with the library's choice of backends and with naive ones.

    Full contrast, whose products are most of a step, comes in several precisions.
    """
    if not setting.channels:  # MENTOR needs a modality.
        return []
    found = []
    for name, config in CONFIGS.items():
        is_full = config.get("contrast") != "batch"
        for precision in _PRECISIONS[setting.device] if is_full else ("ieee",):
            chosen, label = {**config, "precision": precision}, f"auto, {precision}"
            found.append(Case("step", name, label, partial(prepare, chosen, backend="auto")))
            if setting.device == "cuda" and is_full:
                work = partial(prepare_captured, chosen)
                found.append(Case("step", name, f"{label}, CUDA graph", work))
        found.append(Case("step", name, "naive", partial(prepare, config, backend="naive")))
    return found


def prepare(config: dict[str, Any], setting: Setting, *, backend: str) -> Work:
    """Return the work of one step on the setting's dataset."""
    return step_work(load(setting), config, backend)


def prepare_captured(config: dict[str, Any], setting: Setting) -> Work:
    """Return the work of one step whose forward and backward replay a CUDA graph."""
    data = load(setting)
    model, inputs, optimizer, batch = _training(data, config, "auto")

    @cache  # Recorded by the first call, whose memory is what the graph holds.
    def captured() -> CapturedStep:
        return CapturedStep(partial(model.loss, inputs), model.parameters(), batch)

    def run() -> None:
        captured()(batch)
        optimizer.step()

    def check(_: object) -> str:
        return f"{_check_replay(data, config)}; {check_loss(model, inputs, batch, 'auto')}"

    return Work(run, check, gflop=_gflop(model, inputs, batch))


def _check_replay(data: HeteroData, config: dict[str, Any]) -> str:
    """Raise an ``AssertionError`` where a replay differs from a step, with nothing drawn in it."""
    nothing_drawn = {**config, "mask_weight": 0.0, "noise_scale": 0.0}
    model, inputs, _, batch = _training(data, nothing_drawn, "auto")
    step = CapturedStep(partial(model.loss, inputs), model.parameters(), batch)
    values, replayed = step(batch), [p.grad for p in model.parameters()]
    terms = model.loss(inputs, *batch)
    expected = _gradients(terms, model)
    for name, value in zip(step.terms, values, strict=True):
        _check_term(name, value, terms[name])
    for (name, _), got, wanted in zip(model.named_parameters(), replayed, expected, strict=True):
        _check_gradient(name, got, wanted, 1e-4)
    return "terms and gradients of a replay without random terms as without a graph"


def step_work(data: HeteroData, config: dict[str, Any], backend: str) -> Work:
    """Return the work of one step on any dataset."""
    model, inputs, optimizer, batch = _training(data, config, backend)
    if backend == "naive":
        largest = max(_contrasted(model, batch))
        refuse_beyond_memory(NAIVE_BYTES * largest**2, batch.user.device.type)

    def run() -> None:
        with contrast_by(backend):
            train_step(model, optimizer, inputs, batch)

    def check(_: object) -> str:
        return check_loss(model, inputs, batch, backend)

    return Work(run, check, gflop=_gflop(model, inputs, batch))


def train_step(
    model: MENTOR, optimizer: torch.optim.Optimizer, inputs: Inputs, batch: Batch
) -> None:
    """Train on one batch."""
    terms = model.loss(inputs, *batch)
    optimizer.zero_grad()
    torch.stack(list(terms.values())).sum().backward()
    optimizer.step()


@contextmanager
def contrast_by(backend: str) -> Iterator[None]:
    """Let the model's InfoNCE be the naive one, which no setting of the model chooses."""
    if backend != "naive":
        yield
        return
    with _info_nce_as(lambda a, b, temperature: info_nce(a, b, temperature, "naive")):
        yield


def check_loss(model: MENTOR, inputs: Inputs, batch: Batch, backend: str) -> str:
    """Raise an ``AssertionError`` where loss terms or gradients differ from the reference.

    The reference propagates naively and takes InfoNCE block by block, which fits where the
    ``N x N`` matrix of the naive one does not.
    """
    draws = fixed_draws(model)
    reference = MENTOR(model.sizes, model.config.replace(backend="naive"))
    reference.to(next(model.parameters()).device).load_state_dict(model.state_dict())
    with contrast_by(backend):
        got = model.loss(inputs, *batch, draws)
        found = _gradients(got, model)
    with _info_nce_as(info_nce_in_blocks):
        expected = reference.loss(inputs, *batch, draws)
        wanted = _gradients(expected, reference)
    # Only the contrast takes a precision, but every gradient has a part of it.
    tolerance = TOLERANCE[model.config.precision]
    for name, value in got.items():
        exact = TOLERANCE["ieee"]
        _check_term(name, value, expected[name], tolerance if name == "perturb" else exact)
    for (name, _), a, b in zip(model.named_parameters(), found, wanted, strict=True):
        _check_gradient(name, a, b, max(tolerance, _NOISY))
    return f"{', '.join(got)} and all gradients against naive, on the same random draws"


def _gradients(terms: Mapping[str, Tensor], model: MENTOR) -> tuple[Tensor | None, ...]:
    loss = torch.stack(list(terms.values())).sum()
    return torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)


def _check_gradient(
    name: str, got: Tensor | None, expected: Tensor | None, tolerance: float
) -> None:
    assert (got is None) == (expected is None), f"only one of two gradients of {name!r} is there"
    if got is not None and expected is not None:
        close(f"the gradient of {name!r}", got, expected, tolerance)


def fixed_draws(model: MENTOR) -> Draws:
    """Return all random numbers of a step."""
    device, config = next(model.parameters()).device, model.config
    nodes = {"user": model.num_users, "item": model.num_items}
    dim, width = config.embedding_dim, config.embedding_dim * len(model.modalities)
    noise = {
        f"noise/{view}/{modality}/{layer}": torch.rand(sum(nodes.values()), dim, device=device)
        for view in ("view_a", "view_b")
        for modality in model.modalities
        for layer in range(1, config.num_layers + 1)
    }
    keep = {
        f"keep/{node}": torch.rand(count, width, device=device) >= config.mask_ratio
        for node, count in nodes.items()
    }
    return Draws({**noise, **keep})


def _check_term(
    name: str, value: Tensor, expected: Tensor, tolerance: float = TOLERANCE["ieee"]
) -> None:
    assert bool(value.isfinite()), f"the loss term {name!r} is {value.item()}"
    error = float((value - expected).detach().abs())
    allowed = tolerance * float(expected.detach().abs()) + 1e-7
    assert error <= allowed, f"the loss term {name!r} is off by {error:.1e}"


def _contrasted(model: MENTOR, batch: Batch) -> tuple[int, int]:
    """Return how many users and items are contrasted."""
    if model.config.contrast == "batch":
        return batch.user.unique().numel(), batch.pos_item.unique().numel()
    return model.num_users, model.num_items


def _gflop(model: MENTOR, inputs: Inputs, batch: Batch) -> float:
    contrasted, channels = _contrasted(model, batch), model.sizes.channels
    adjacency = inputs.graphs["interaction"]
    return sum(step_gflop(model.config, adjacency, channels, model.num_items, contrasted).values())


def _training(
    data: HeteroData, config: dict[str, Any], backend: str
) -> tuple[MENTOR, Inputs, torch.optim.Optimizer, Batch]:
    batch = next(iter(BPRBatches(data)))
    model = MENTOR.from_data(data, _config(config, backend)).to(batch.user.device)
    view = torch.empty(1, model.config.embedding_dim, device=batch.user.device)
    refuse_precision(view, model.config.precision)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    return model, model.prepare(data), optimizer, batch


def _config(config: dict[str, Any], backend: str) -> MENTORConfig:
    return MENTORConfig.from_dict({**config, "backend": backend})


@contextmanager
def _info_nce_as(function: Callable[[Tensor, Tensor, float], Tensor]) -> Iterator[None]:
    def replaced(a: Tensor, b: Tensor, temperature: float, *_: Any, **__: Any) -> Tensor:
        return function(a, b, temperature)

    with mock.patch("mentor_pyg.models.mentor.model.info_nce", replaced):
        yield
