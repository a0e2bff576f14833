"""What is measured: per suite, cases that each prepare a function to time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg import InteractionFolder, MENTORConfig, SyntheticMultimodal
from mentor_pyg.data import INTERACTS, Representations, num_items, num_users
from mentor_pyg.evaluation import full_ranking
from mentor_pyg.graph import interaction_adjacency, knn_graph
from mentor_pyg.losses import info_nce
from mentor_pyg.models import MENTOR
from mentor_pyg.ops import BACKENDS, propagate
from mentor_pyg.sampling import BPRBatches, UniformNegativeSampler

__all__ = ["SUITES", "Case", "cases"]

SUITES = ("machine", "propagate", "infonce", "knn", "negatives", "ranking", "step")


@dataclass(frozen=True)
class Case:
    """One measurement.

    Args:
        suite: The suite it belongs to.
        name: What it measures.
        prepare: Builds everything, checks results against the reference where there is one, and
            returns the function to time.
        gflop: Floating-point operations of one call, in 10^9, where they can be counted.
    """

    suite: str
    name: str
    prepare: Callable[[], Callable[[], object]]
    gflop: float | None = None


def cases(data: Path | None) -> list[Case]:
    """Return all cases, over a folder's dataset or the synthetic one of Baby's size."""
    return [
        *_machine(),
        *_propagate(data),
        *_infonce(),
        Case("knn", "first modality, k = 10", lambda: _knn(data)),
        Case("negatives", "2048 of a batch", lambda: _negatives(data)),
        Case("ranking", "all users, width 64, recall@20", lambda: _ranking(data)),
        *_step(data),
    ]


def _dataset(data: Path | None, modalities: tuple[str, ...] = ()) -> HeteroData:
    """Return the folder's dataset, or a synthetic one with no more features than needed."""
    if data is not None:
        return InteractionFolder(data)[0]
    return SyntheticMultimodal(size="baby", modalities=modalities)[0]


def _machine() -> list[Case]:
    def gemm() -> Callable[[], object]:
        a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
        return lambda: a @ b

    def copy() -> Callable[[], object]:
        a = torch.randn(2**26)
        b = torch.empty_like(a)
        return lambda: b.copy_(a)

    return [
        Case("machine", "matrix product 2048^3, float32", gemm, gflop=2 * 2048**3 / 1e9),
        Case("machine", "copy 256 MiB", copy),
    ]


def _propagate(data: Path | None) -> list[Case]:
    def prepare(backend: str, width: int) -> Callable[[], object]:
        adjacency = interaction_adjacency(_dataset(data))
        x = torch.randn(adjacency.num_sources, width, requires_grad=True)
        grad = torch.randn_like(x)
        # Nothing is timed that is not right.
        expected = propagate(adjacency, x, "naive")
        torch.testing.assert_close(propagate(adjacency, x, backend), expected)
        return lambda: torch.autograd.grad(propagate(adjacency, x, backend), x, grad)

    return [
        Case(
            "propagate",
            f"{backend}, width {width}, forward + backward",
            lambda backend=backend, width=width: prepare(backend, width),  # type: ignore[misc]
        )
        for width in (64, 128)
        for backend in BACKENDS
    ]


def _infonce() -> list[Case]:
    def prepare(backend: str, rows: int) -> Callable[[], object]:
        a = torch.randn(rows, 128, requires_grad=True)
        b = torch.randn(rows, 128, requires_grad=True)
        few = (a[:512], b[:512])
        torch.testing.assert_close(info_nce(*few, 0.2, backend), info_nce(*few, 0.2, "naive"))
        return lambda: torch.autograd.grad(info_nce(a, b, 0.2, backend), (a, b))

    return [
        Case(
            "infonce",
            f"{backend}, N = {rows}, d = 128, forward + backward",
            lambda backend=backend, rows=rows: prepare(backend, rows),  # type: ignore[misc]
            gflop=6 * rows**2 * 128 / 1e9,
        )
        for rows in (7_050, 19_445)
        for backend in ("naive", "chunked")
    ]


def _knn(data: Path | None) -> Callable[[], object]:
    dataset = _dataset(data, ("visual",))
    x: Tensor = next(value for key, value in dataset["item"].items() if key.startswith("x_"))
    return lambda: knn_graph(x, 10)


def _negatives(data: Path | None) -> Callable[[], object]:
    dataset = _dataset(data)
    users, items = num_users(dataset), num_items(dataset)
    sampler = UniformNegativeSampler(dataset[INTERACTS].edge_index, users, items)
    user = dataset[INTERACTS].edge_index[0][:2048]
    return lambda: sampler.sample(user)


def _ranking(data: Path | None) -> Callable[[], object]:
    dataset = _dataset(data)
    user = {"fused": torch.randn(num_users(dataset), 64)}
    item = {"fused": torch.randn(num_items(dataset), 64)}
    reps = Representations(user, item)
    return lambda: full_ranking(reps, dataset, "test", k=20, metrics=("recall",))


def _step(data: Path | None) -> list[Case]:
    def prepare(config: MENTORConfig) -> Callable[[], object]:
        dataset = _dataset(data, ("visual", "textual"))
        model = MENTOR.from_data(dataset, config)
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        batch = next(iter(BPRBatches(dataset)))

        def step() -> None:
            optimizer.zero_grad()
            terms = model.loss(dataset, *batch)
            torch.stack(list(terms.values())).sum().backward()
            optimizer.step()

        return step

    configs = {
        "released semantics, full contrast": MENTORConfig(semantics="released"),
        "paper semantics, full contrast": MENTORConfig(),
        "paper semantics, batch contrast": MENTORConfig(contrast="batch"),
    }
    return [
        Case("step", name, lambda config=config: prepare(config))  # type: ignore[misc]
        for name, config in configs.items()
    ]
