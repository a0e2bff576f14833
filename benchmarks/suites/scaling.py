"""How time and memory grow: over nodes, edges, width and modalities, one at a time."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from cases import Case, Setting, Work
from counts import propagate_gbyte, propagate_gflop
from references import close, product_rows
from torch import Tensor

from mentor_pyg import SyntheticMultimodal
from mentor_pyg.graph import Adjacency, normalize_symmetric
from mentor_pyg.ops import propagate
from suites import infonce
from suites.propagate import lay_out, refuse_unavailable, value_and_gradient
from suites.step import step_work

__all__ = ["CURVES", "cases", "random_adjacency"]

CURVES = {
    "nodes": "propagation over nodes",
    "rows": "InfoNCE over nodes",
    "edges": "propagation over edges",
    "width": "propagation over width",
    "modalities": "training step over modalities",
}
"""The curves: what grows, and of what."""

_WIDTH = 64
_EDGES_PER_NODE = 9
_NODES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
_NAIVE_NODES = (10_000, 100_000)
_ROWS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
_NAIVE_ROWS = (10_000,)
_EDGES = (3, 9, 27)  # per node
_WIDTHS = (16, 32, 64, 128, 256, 512)
_MODALITIES = ("visual", "textual", "acoustic", "tabular")
_CHECKED = 512


def cases(setting: Setting) -> list[Case]:
    """Return the points of all curves, on synthetic graphs whatever the dataset."""
    del setting
    return [*_propagation(), *_info_nce(), *_steps()]


def _propagation() -> list[Case]:
    nodes = [
        (n, _EDGES_PER_NODE, _WIDTH, backend)
        for backend, sizes in (("auto", _NODES), ("naive", _NAIVE_NODES))
        for n in sizes
    ]
    points = {
        "nodes": nodes,
        "edges": [(100_000, per_node, _WIDTH, "auto") for per_node in _EDGES],
        "width": [(30_000, _EDGES_PER_NODE, width, "auto") for width in _WIDTHS],
    }
    return [
        Case(
            "scaling",
            f"{CURVES[curve]}: {n:,} nodes, {n * per_node:,} non-zeros, width {width}",
            backend,
            partial(_product, curve, n, per_node, width, backend),
        )
        for curve, listed in points.items()
        for n, per_node, width, backend in listed
    ]


def _info_nce() -> list[Case]:
    return [
        Case(
            "scaling",
            f"{CURVES['rows']}: N = {n:,}, d = {_WIDTH}",
            backend,
            partial(_loss, n, backend),
        )
        for backend, sizes in (("auto", _ROWS), ("naive", _NAIVE_ROWS))
        for n in sizes
    ]


def _steps() -> list[Case]:
    return [
        Case(
            "scaling",
            f"{CURVES['modalities']}: {count} of 1,500 users and 800 items",
            "auto",
            partial(_step, count),
        )
        for count in range(1, len(_MODALITIES) + 1)
    ]


def random_adjacency(num_nodes: int, edges_per_node: int, device: str) -> Adjacency:
    """Return the normalised adjacency of a random undirected graph between two halves."""
    pairs = num_nodes * edges_per_node // 2
    generator = torch.Generator().manual_seed(0)
    half = num_nodes // 2
    user, item = torch.randint(half, (2, pairs), generator=generator)
    key = (user * num_nodes + item).unique()
    user, item = key // num_nodes, key % num_nodes + half
    joint = torch.stack([torch.cat([user, item]), torch.cat([item, user])]).to(device)
    weight = normalize_symmetric(joint, num_nodes)
    return Adjacency.from_edge_index(joint, weight, num_nodes=num_nodes, is_symmetric=True)


def _product(
    curve: str, num_nodes: int, per_node: int, width: int, backend: str, setting: Setting
) -> Work:
    adjacency = random_adjacency(num_nodes, per_node, setting.device)
    x = torch.randn(num_nodes, width, device=setting.device, requires_grad=True)
    grad = torch.randn_like(x)
    refuse_unavailable(adjacency, x, backend)
    lay_out(adjacency, x, backend)
    function = partial(propagate, adjacency, backend=backend)

    def check(result: tuple[Tensor, Tensor]) -> str:
        rows = torch.arange(num_nodes)[:: max(1, num_nodes // _CHECKED)]
        value, gradient = result
        close("value", value[rows], product_rows(adjacency, x.detach(), rows), 1e-5)
        close("gradient", gradient[rows], product_rows(adjacency, grad, rows), 1e-5)
        return f"values and gradients of {len(rows)} nodes against sums in float64"

    return Work(
        lambda: value_and_gradient(function, x, grad),
        check,
        gflop=propagate_gflop(adjacency, width, 2),
        gbyte=propagate_gbyte(adjacency, width, 2),
        facts={
            "curve": curve,
            "nodes": num_nodes,
            "edges": adjacency.num_edges,
            "width": width,
            "size": num_nodes * width + adjacency.num_edges,
        },
    )


def _loss(rows: int, backend: str, setting: Setting) -> Work:
    work = infonce.prepare(rows, _WIDTH, setting, backend=backend)
    facts: dict[str, float | str] = {
        "curve": "rows",
        "nodes": rows,
        "width": _WIDTH,
        "size": rows * _WIDTH,
    }
    return replace(work, facts=facts)


def _step(count: int, setting: Setting) -> Work:
    data = SyntheticMultimodal("demo", modalities=_MODALITIES[:count])[0].to(setting.device)
    work = step_work(data, {"semantics": "paper"}, "auto")
    facts: dict[str, float | str] = {"curve": "modalities", "modalities": count, "size": count}
    return replace(work, facts=facts)
