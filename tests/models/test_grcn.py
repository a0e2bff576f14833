import math
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.models import GRCN, GRCNConfig
from tests.models.dense import (
    BATCH,
    BOTH,
    EDGES,
    ITEMS,
    USERS,
    Matrix,
    bpr,
    doubled,
    gappy_data,
    has,
    leaky_relu,
    numbers,
    unit,
)

SETTINGS: dict[str, Any] = {"embedding_dim": 4, "latent_dim": 3}
Weights = dict[tuple[int, int], float]


def neighbours() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {n: [] for n in range(USERS + ITEMS)}
    for u, i in EDGES:
        found[u].append(USERS + i)
        found[USERS + i].append(u)
    return found


def softmax_over_neighbours(x: Matrix) -> Weights:
    """Return the weight of every edge (target, source)."""
    weights: Weights = {}
    for v, sources in neighbours().items():
        odds = {w: math.exp(x[v] @ x[w]) for w in sources}
        weights |= {(v, w): odds[w] / sum(odds.values()) for w in sources}
    return weights


def reference(model: GRCN, data: HeteroData) -> tuple[dict[str, Matrix], Weights]:
    """Return users, then items, of every view; and the refined graph."""
    views, attentions, modalities = {}, {}, list(model.sizes.channels)
    for m in modalities:
        linear = model.projections[m]
        features = numbers(data["item"][f"x_{m}"])
        item = leaky_relu(features @ numbers(linear.weight).T + numbers(linear.bias))
        item[[i for i in range(ITEMS) if not has(data, m)[i]]] = 0
        x = unit(np.concatenate([numbers(model.user_preference[m]), item]))
        for _ in range(model.config.num_routing):
            weights, moved = softmax_over_neighbours(x), x.copy()
            for (v, w), weight in weights.items():
                if v < USERS:
                    moved[v] += weight * x[w]
            x = unit(moved)
        attentions[m] = softmax_over_neighbours(x)
        views[m] = x.copy()
        for (v, w), weight in attentions[m].items():
            views[m][v] += weight * x[w]
    confidence, refined = numbers(model.confidence), {}
    for v, w in attentions[modalities[0]]:
        best = max(confidence[w, c] * attentions[m][v, w] for c, m in enumerate(modalities))
        refined[v, w] = max(best, 0.0)
    h = unit(np.concatenate([numbers(model.user_embedding), numbers(model.item_embedding)]))
    views["id"] = h.copy()
    for _ in range(model.config.num_layers):
        summed = np.zeros_like(h)
        for (v, w), weight in refined.items():
            summed[v] += weight * h[w]
        h = summed
        views["id"] += h
    fused = np.concatenate([views["id"], *(views[m] for m in modalities)], axis=1)
    return {**views, "fused": fused}, refined


@pytest.mark.parametrize("changes", [{}, {"num_routing": 0}, {"num_layers": 1}, {"num_layers": 0}])
@pytest.mark.parametrize("modalities", [BOTH, ("textual",), (*BOTH, "acoustic")])
def test_equals_loops(modalities: tuple[str, ...], changes: dict[str, int]) -> None:
    data = gappy_data(*modalities)
    model = GRCN.from_data(data, GRCNConfig(**SETTINGS, **changes))
    (expected, refined), reps = reference(model, data), model.encode(data)
    assert 0 < sum(weight == 0 for weight in refined.values()) < len(refined)
    assert set(reps.views) == {"fused", "id", *modalities}
    for view in reps.views:
        actual = reps.nodes(view).detach().numpy()
        np.testing.assert_allclose(actual, expected[view], rtol=0, atol=3e-6, err_msg=view)


def mean_square(x: Matrix) -> float:
    return sum(value**2 for row in x.tolist() for value in row) / x.size


def test_terms_equal_loops() -> None:
    data = gappy_data(*BOTH)
    model = GRCN.from_data(data, GRCNConfig(**SETTINGS, reg_weight=0.7))
    views, _ = reference(model, data)
    user, item = np.split(views["fused"], [USERS])
    items = [*BATCH.pos_item.tolist(), *BATCH.neg_item.tolist()]
    penalty = mean_square(numbers(model.user_embedding)[BATCH.user])
    penalty += mean_square(numbers(model.item_embedding)[items])
    penalty += sum(mean_square(numbers(t)[BATCH.user]) for t in model.user_preference.values())
    terms = {name: term.item() for name, term in model.loss(data, *BATCH).items()}
    assert terms == pytest.approx({"bpr": bpr(user, item, BATCH), "reg": 0.7 * penalty}, rel=1e-5)


def test_gradients_equal_finite_differences() -> None:
    data = gappy_data(*BOTH)
    model = GRCN.from_data(data, GRCNConfig(**SETTINGS)).double()
    inputs = doubled(model.prepare(data))

    def loss() -> torch.Tensor:
        reps = model.represent(inputs)
        return (reps.nodes("fused") * weight).sum()

    weight = torch.randn(USERS + ITEMS, 4 + 2 * 3, dtype=torch.float64)
    loss().backward()
    for name, parameter in model.named_parameters():
        direction = torch.randn_like(parameter)
        values = []
        for step in (1e-6, -2e-6, 1e-6):
            with torch.no_grad():
                parameter.add_(step * direction)
                values.append(loss().item())
        assert parameter.grad is not None
        slope = (parameter.grad * direction).sum().item()
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope, rel=1e-4, abs=1e-6), name


def test_nodes_without_interactions_are_their_own() -> None:
    data = gappy_data(*BOTH)
    model = GRCN.from_data(data, GRCNConfig(**SETTINGS))
    reps = model.encode(data)
    user = torch.nn.functional.normalize(model.user_embedding[7], dim=0)
    torch.testing.assert_close(reps.user["id"][7], user)
    preference = torch.nn.functional.normalize(model.user_preference["textual"][7], dim=0)
    torch.testing.assert_close(reps.user["textual"][7], preference)
    assert (reps.item["id"][10].norm() - 1).abs() < 1e-6


def test_defaults() -> None:
    config = GRCNConfig()
    assert (config.embedding_dim, config.latent_dim, config.num_layers) == (64, 64, 2)
    assert (config.num_routing, config.reg_weight) == (3, 1e-5)


def test_refuses_data_without_features() -> None:
    with pytest.raises(ValueError, match=r"GRCN needs at least one modality; add features"):
        GRCN.from_data(gappy_data())
