"""Nearest neighbours by every modality's features, beside the product they cannot do without."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from cases import Case, Setting, Work
from counts import dense_gbyte, knn_gflop
from dataset import load
from measure import refuse_beyond_memory
from references import dense_similarity
from torch import Tensor

from mentor_pyg.data import feature_key, presence
from mentor_pyg.graph import knn_graph

__all__ = ["cases", "check_neighbours"]

_K = 10
_BLOCK = 2048
_CHECKED = 256


def cases(setting: Setting) -> list[Case]:
    """Return a search per modality: the library's, its product alone, the dense one."""
    return [
        Case("knn", f"{modality}, k = {_K}", backend, partial(prepare, modality))
        for modality in setting.channels
        for backend, prepare in (
            ("knn_graph", _knn_graph),
            ("product alone", _product),
            ("naive", _naive),
        )
    ]


def _features(modality: str, setting: Setting) -> Tensor:
    data = load(setting)
    return data["item"][feature_key(modality)][presence(data, modality)]


def _knn_graph(modality: str, setting: Setting) -> Work:
    x = _features(modality, setting)

    def check(result: tuple[Tensor, Tensor]) -> str:
        edge_index, similarity = result
        check_neighbours(x, edge_index[0].view(-1, _K), similarity.view(-1, _K))
        return _checked(x)

    return _counted(x, Work(lambda: knn_graph(x, _K), check))


def _product(modality: str, setting: Setting) -> Work:
    x = F.normalize(_features(modality, setting))
    buffer = x.new_empty(min(_BLOCK, len(x)), len(x))

    def run() -> None:
        for part in x.split(_BLOCK):
            torch.mm(part, x.t(), out=buffer[: len(part)])

    return _counted(x, Work(run, lambda _: "nothing: a bound, not a result"))


def _naive(modality: str, setting: Setting) -> Work:
    x = _features(modality, setting)
    refuse_beyond_memory(8 * len(x) ** 2, setting.device)

    def run() -> tuple[Tensor, Tensor]:
        unit = F.normalize(x)
        similarity = unit @ unit.t()
        similarity.fill_diagonal_(-torch.inf)
        value, index = similarity.topk(_K, dim=1)
        return index, value

    def check(result: tuple[Tensor, Tensor]) -> str:
        check_neighbours(x, *result)
        return _checked(x)

    return _counted(x, Work(run, check))


def check_neighbours(x: Tensor, neighbour: Tensor, similarity: Tensor) -> None:
    """Raise an ``AssertionError`` where neighbours ``[N, k]`` are not the nearest ones.

    Near-ties may come in any order: what counts is that no neighbour is less similar than the
    k-th most similar item of a dense search in float64, up to rounding.
    """
    k = neighbour.size(1)
    rows = torch.arange(len(x), device=x.device)[:: max(1, len(x) // _CHECKED)]
    expected = dense_similarity(x, rows)
    best = expected.topk(k, dim=1).values
    got = expected.gather(1, neighbour[rows])
    assert bool((neighbour[rows].sort(dim=1).values.diff(dim=1) > 0).all()), "a neighbour twice"
    error = float((got.sort(dim=1, descending=True).values - best).abs().max())
    assert error < 1e-5, f"neighbours that are not the nearest: similarities off by {error:.1e}"
    error = float((similarity[rows].double() - got).abs().max())
    assert error < 1e-5, f"similarities off by {error:.1e}"


def _checked(x: Tensor) -> str:
    return f"{min(len(x), _CHECKED)} rows or more against a dense search in float64"


def _counted(x: Tensor, work: Work) -> Work:
    return replace(work, gflop=knn_gflop(*x.shape), gbyte=dense_gbyte(x.numel()))
