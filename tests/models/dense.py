"""Small data with every gap, and references in loops and float64 that tests of models share."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, REV_INTERACTS, Inputs
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.graph import Adjacency
from mentor_pyg.models import Draws, Recommender
from mentor_pyg.models.behaviour import PurifiedRecommender
from mentor_pyg.models.user_graph import drawn_multiplicity
from mentor_pyg.sampling import Batch

Matrix = NDArray[np.float64]
Sparse = dict[tuple[int, int], float]
BOTH = ("visual", "textual")
USERS, ITEMS = 8, 11
CHANNELS = {"visual": 5, "textual": 7, "acoustic": 3}
LACKING = {"visual": (4, 5), "textual": (3, 4), "acoustic": (3, 4, 6)}
EDGES = (
    (0, 0), (0, 1), (0, 4), (1, 1), (1, 2), (1, 5), (2, 0), (2, 6), (2, 7), (2, 8),
    (3, 2), (3, 8), (4, 5), (4, 7), (4, 9), (5, 4), (5, 0), (6, 3),
)  # fmt: skip
"""User 7 and item 10 have none; user 6 has but item 3, which lacks two modalities."""
BATCH = Batch(
    torch.tensor([0, 0, 2, 5, 6]), torch.tensor([1, 4, 7, 0, 3]), torch.tensor([2, 3, 10, 5, 4])
)


def gappy_data(*modalities: str, complete: bool = False) -> HeteroData:
    """Return data of some modalities, which items lack, with users and items without edges."""
    generator = torch.Generator().manual_seed(0)
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = USERS, ITEMS
    for modality, channels in CHANNELS.items():
        x = torch.randn(ITEMS, channels, generator=generator) + 0.5
        if modality not in modalities:
            continue
        if not complete:
            present = torch.ones(ITEMS, dtype=torch.bool)
            present[list(LACKING[modality])] = False
            x[~present] = 0
            data["item"][f"has_{modality}"] = present
        data["item"][f"x_{modality}"] = x
    set_interactions(data, torch.tensor(EDGES).t().contiguous())
    return data


COLD_USER, COLD_ITEM, WITHOUT_VISUAL, WITHOUT_ANY = 7, 11, 3, 5
"""Of :func:`tiny_data_with_gaps`."""


def set_interactions(data: HeteroData, edge_index: Tensor) -> None:
    """Put other train interactions in the place of those that are there."""
    data[INTERACTS].edge_index = edge_index
    data[REV_INTERACTS].edge_index = edge_index.flip(0)


def tiny_data_with_gaps(*modalities: str, cold: bool, filler: float = 0.0) -> HeteroData:
    """Return the tiny synthetic set, where one item lacks a modality and one lacks both.

    What stands in for them is the filler. One user and one item may have no interactions.
    """
    data = SyntheticMultimodal("tiny", modalities=modalities)[0].clone()
    if cold:
        user, item = data[INTERACTS].edge_index
        kept = (user != COLD_USER) & (item != COLD_ITEM)
        set_interactions(data, data[INTERACTS].edge_index[:, kept])
    lacking = {"visual": [WITHOUT_VISUAL, WITHOUT_ANY], "textual": [WITHOUT_ANY]}
    for modality in modalities:
        present = torch.ones(80, dtype=torch.bool)
        present[lacking[modality]] = False
        data["item"][f"has_{modality}"] = present
        x = data["item"][f"x_{modality}"].clone()
        x[~present] = filler
        data["item"][f"x_{modality}"] = x
    return data


def interaction_matrix(edge_index: Tensor, users: int, items: int) -> Tensor:
    """Return the normalised graph of users and items in float64."""
    out = torch.zeros(users + items, users + items, dtype=torch.float64)
    degree = [0] * (users + items)
    pairs = [(u, users + i) for u, i in zip(*edge_index.tolist(), strict=True)]
    for u, i in pairs:
        degree[u] += 1
        degree[i] += 1
    for u, i in pairs:
        out[u, i] = out[i, u] = 1 / math.sqrt(degree[u] * degree[i])
    return out


def item_matrix(data: HeteroData, k: int, weights: Mapping[str, float]) -> Tensor:
    """Return the merged item graph, row by row."""
    items = data["item"].num_nodes
    out = torch.zeros(items, items, dtype=torch.float64)
    for i in range(items):
        has = {m: bool(data["item"].get(f"has_{m}", torch.ones(items))[i]) for m in weights}
        available = sum(w for m, w in weights.items() if has[m])
        for m, w in weights.items():
            if not has[m]:
                continue
            x = data["item"][f"x_{m}"].double()
            cosine = []
            for j in range(items):
                if data["item"].get(f"has_{m}", torch.ones(items))[j]:
                    similar = (x[i] @ x[j] / x[i].norm() / x[j].norm()).item()
                    cosine.append((math.inf if j == i else similar, j))
            for _, j in sorted(cosine, reverse=True)[:k]:
                # Each item has k neighbours, so both degrees are k.
                out[i, j] += w * sum(weights.values()) / available / math.sqrt(k * k)
    return out


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(module: torch.nn.Module, x: Matrix) -> Matrix:
    """Return what a linear layer makes of rows."""
    bias = getattr(module, "bias", None)
    return x @ numbers(module.weight).T + (0 if bias is None else numbers(bias))


def has(data: HeteroData, modality: str) -> list[bool]:
    found = data["item"].get(f"has_{modality}")
    return [True] * ITEMS if found is None else found.tolist()


def numbers(tensor: Tensor) -> Matrix:
    """Return a tensor's values in float64."""
    return tensor.detach().double().numpy()


def sigmoid(x: Matrix) -> Matrix:
    return 1 / (1 + np.exp(-x))


def leaky_relu(x: Matrix) -> Matrix:
    return np.where(x > 0, x, 0.01 * x)


def unit(x: Matrix) -> Matrix:
    """Return rows of unit length; rows of zeros stay."""
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / np.where(length > 0, length, 1)


def degrees() -> tuple[list[int], list[int]]:
    users = [sum(u == user for u, _ in EDGES) for user in range(USERS)]
    items = [sum(i == item for _, i in EDGES) for item in range(ITEMS)]
    return users, items


def nearest_users(k: int) -> dict[int, dict[int, int]]:
    """Return the items that every user shares with its nearest users."""
    items = {u: {i for user, i in EDGES if user == u} for u in range(USERS)}
    found = {}
    for u in range(USERS):
        shared = {v: len(items[u] & items[v]) for v in range(USERS) if v != u}
        best = sorted((v for v, n in shared.items() if n), key=lambda v: (-shared[v], v))[:k]
        found[u] = {v: shared[v] for v in best}
    return found


def from_nearest_users(
    own: Matrix, k: int, by: str = "softmax", drawn: dict[tuple[int, int], int] | None = None
) -> Matrix:
    """Return what users hear from their nearest ones, each as often as it was drawn, or once."""
    others = np.zeros_like(own)
    for u, shared in nearest_users(k).items():
        odds = {v: math.exp(n) if by == "softmax" else 1.0 for v, n in shared.items()}
        odds = {v: w * (drawn[u, v] if drawn else 1) for v, w in odds.items()}
        for v, w in odds.items():
            others[u] += w / sum(odds.values()) * own[v]
    return others


def drawn_users(
    shared: Adjacency, k: int, generator: torch.Generator
) -> dict[tuple[int, int], int]:
    """Return how often every neighbour of a user is drawn."""
    multiplicity = drawn_multiplicity(shared, k, generator)
    edges = (shared.target.tolist(), shared.col.tolist(), multiplicity.tolist())
    return {(u, v): n for u, v, n in zip(*edges, strict=True)}


def light_gcn(user: Matrix, item: Matrix, num_layers: int) -> tuple[Matrix, Matrix]:
    """Return the mean over layers of symmetrically normalised propagation."""
    user_degree, item_degree = degrees()
    layers = [(user, item)]
    for _ in range(num_layers):
        next_user, next_item = np.zeros_like(user), np.zeros_like(item)
        for u, i in EDGES:
            weight = 1 / math.sqrt(user_degree[u] * item_degree[i])
            next_user[u] += weight * layers[-1][1][i]
            next_item[i] += weight * layers[-1][0][u]
        layers.append((next_user, next_item))
    sums = [sum(layer[side] for layer in layers) / (num_layers + 1) for side in (0, 1)]
    return sums[0], sums[1]


def nearest(x: Matrix, present: list[bool], k: int) -> Sparse:
    """Return the cosine of every item with its k nearest ones, itself among them, by row."""
    rows, found = unit(x), {}
    for i in range(len(x)):
        if present[i]:
            cosine = {j: float(rows[i] @ rows[j]) for j in range(len(x)) if present[j]}
            for j in sorted(cosine, key=lambda j: -cosine[j])[:k]:
                found[i, j] = cosine[j]
    return found


def by_row_sums(graph: Sparse) -> Sparse:
    """Divide by the roots of the row sums of both ends."""
    sums = [sum(w for (i, _), w in graph.items() if i == row) for row in range(ITEMS)]
    return {(i, j): w / math.sqrt(sums[i] * sums[j]) for (i, j), w in graph.items()}


def product(graph: Sparse, x: Matrix) -> Matrix:
    out = np.zeros_like(x)
    for (i, j), weight in graph.items():
        out[i] += weight * x[j]
    return out


def over_item_graph(graph: Sparse, x: Matrix, present: list[bool], num_layers: int) -> Matrix:
    """Return the rows of the items that are present after layers over their graph."""
    x = x * np.array(present)[:, None]
    for _ in range(num_layers):
        x = product(graph, x)
    return x


def heard_by_users(items: Matrix) -> Matrix:
    """Return what users hear from their items, over the roots of the degrees of both."""
    user_degree, item_degree = degrees()
    out = np.zeros((USERS, items.shape[1]))
    for u, i in EDGES:
        out[u] += items[i] / math.sqrt(user_degree[u] * item_degree[i])
    return out


def purified_items(model: PurifiedRecommender, data: HeteroData, modality: str) -> Matrix:
    """Return the item ids gated by a modality's features, after all layers over its graph."""
    config, x, present = model.config, numbers(data["item"][f"x_{modality}"]), has(data, modality)
    gate = linear(model.views.gates[modality], linear(model.views.projections[modality], x))
    graph = by_row_sums(nearest(x, present, config.k))
    gated = numbers(model.item_embedding) * sigmoid(gate)
    return over_item_graph(graph, gated, present, config.num_item_layers)


def fused_by_behaviour(model: PurifiedRecommender, nodes: Mapping[str, Matrix]) -> Matrix:
    """Return what the modalities add to behaviour, which is under "id", node by node."""
    modalities, side = list(model.sizes.channels), np.zeros_like(nodes["id"])
    for n in range(USERS + ITEMS):
        views = {m: nodes[m][n] for m in modalities if nodes[m][n].any()}
        if not views:
            continue
        query = numbers(model.fusion.query[2].weight)[0]
        score = {m: query @ np.tanh(linear(model.fusion.query[0], v)) for m, v in views.items()}
        total = sum(math.exp(s) for s in score.values())
        shared = sum(math.exp(score[m]) / total * view for m, view in views.items())
        side[n] = shared
        for m, view in views.items():
            gate = sigmoid(linear(model.fusion.preferences[m], nodes["id"][n]))
            side[n] += gate * (view - shared)
        side[n] /= len(modalities) + 1
    return side


def side_contrast(nodes: Mapping[str, Matrix], users: Any, temperature: float) -> float:
    """Return InfoNCE of what modalities add against ids, of users and the positive items."""
    rows = (users, BATCH.pos_item.numpy() + USERS)
    return sum(info_nce(nodes["side"][r], nodes["id"][r], temperature) for r in rows)


def bpr(user: Matrix, item: Matrix, batch: Batch) -> float:
    total = 0.0
    for u, p, n in zip(*(ids.tolist() for ids in batch), strict=True):
        total += math.log1p(math.exp(user[u] @ item[n] - user[u] @ item[p]))
    return total / batch.user.numel()


def half_squares(user: Matrix, item: Matrix, batch: Batch) -> float:
    total = 0.0
    for u, p, n in zip(*(ids.tolist() for ids in batch), strict=True):
        total += user[u] @ user[u] + item[p] @ item[p] + item[n] @ item[n]
    return float(total) / (2 * batch.user.numel())


def info_nce(a: Matrix, b: Matrix, temperature: float) -> float:
    losses = []
    for i in range(len(a)):
        cosines = unit(b) @ unit(a)[i]  # Of rows of zeros they are 0.
        odds = [math.exp(cosine / temperature) for cosine in cosines]
        losses.append(-math.log(odds[i] / sum(odds)))
    return sum(losses) / len(losses)


class Spy(Draws):
    """Fresh draws, and a record of what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, tuple[tuple[int, ...], float]] = {}

    def keep(self, name: str, like: Tensor, drop_ratio: float) -> Tensor:
        self.asked[name] = (tuple(like.shape), drop_ratio)
        return super().keep(name, like, drop_ratio)


def doubled(inputs: Inputs) -> Inputs:
    """Return the same inputs in float64."""
    return dataclasses.replace(
        inputs,
        features={m: x.double() for m, x in inputs.features.items()},
        graphs={
            name: graph.with_weight(graph.weight.double()) for name, graph in inputs.graphs.items()
        },
    )


def assert_slopes(model: Recommender, terms: Callable[[], dict[str, Tensor]]) -> None:
    """Compare the gradient of every term in every parameter with what the term does nearby.

    Args:
        model: A model in float64.
        terms: The terms, of the same draws at every call.
    """
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = {}
    for term, value in terms().items():
        gradients[term] = [torch.zeros_like(p) for p in parameters]
        if value.requires_grad:
            gradients[term] = torch.autograd.grad(
                value, parameters, retain_graph=True, materialize_grads=True
            )
    generator, step = torch.Generator().manual_seed(8), 1e-5
    for n, (name, parameter) in enumerate(zip(names, parameters, strict=True)):
        way = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        ends, start = [], parameter.detach().clone()
        for sign in (1, -1):
            with torch.no_grad():
                parameter.copy_(start + sign * step * way)
                ends.append(terms())
                parameter.copy_(start)
        for term, by_parameter in gradients.items():
            slope = (by_parameter[n] * way).sum().item()
            expected = (ends[0][term] - ends[1][term]).item() / (2 * step)
            assert slope == pytest.approx(expected, rel=1e-4, abs=1e-8), (term, name)
