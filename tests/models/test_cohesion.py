import math
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import SEMANTIC, Representations
from mentor_pyg.models import COHESION, COHESIONConfig, ranking_terms
from mentor_pyg.models.step import Step
from tests.models.dense import (
    BATCH,
    BOTH,
    EDGES,
    ITEMS,
    USERS,
    Matrix,
    assert_slopes,
    degrees,
    doubled,
    drawn_users,
    from_nearest_users,
    gappy_data,
    has,
    item_matrix,
    leaky_relu,
    linear,
    numbers,
    unit,
)

SETTINGS: dict[str, Any] = {"embedding_dim": 4, "k": 4, "user_k": 2}
PUBLISHED = {"visual": 0.1, "textual": 0.9}


def encoded(model: COHESION, data: HeteroData, view: str) -> Matrix:
    """Return users and items of a view as they start."""
    encoder, ids = model.encoders[view], numbers(model.item_embedding)
    raw = ids if view == "id" else numbers(data["item"][f"x_{view}"])
    own = linear(encoder.output, leaky_relu(linear(encoder.hidden, raw)))
    items = np.zeros_like(ids)
    for i in range(ITEMS):
        for d in range(ids.shape[1]):
            held = own[i, d] if view == "id" or has(data, view)[i] else 0
            items[i, d] = math.sqrt((held**2 + ids[i, d] ** 2) / 2 + 1e-8)
    return unit(np.concatenate([numbers(encoder.user_preference), items]))


def refined(x: Matrix, num_layers: int) -> Matrix:
    """Return the input and all layers, each weighed by its cosine with the input."""
    user_degree, item_degree = degrees()
    total = last = x
    for _ in range(num_layers):
        h = np.zeros_like(x)
        for u, i in EDGES:
            weight = 1 / math.sqrt(user_degree[u] * item_degree[i])
            h[u] += weight * last[USERS + i]
            h[USERS + i] += weight * last[u]
        last = np.stack([(a @ b) * row for a, b, row in zip(unit(h), unit(x), h, strict=True)])
        total = total + last
    return total


def reference(
    model: COHESION,
    data: HeteroData,
    weights: dict[str, float],
    drawn: dict[tuple[int, int], int] | None = None,
) -> dict[str, tuple[Matrix, Matrix]]:
    """Return users and items of every view."""
    config, views = model.config, {}
    graph = numbers(item_matrix(data, config.k, weights))
    for view in ("id", *model.sizes.channels):
        user, item = np.split(refined(encoded(model, data, view), config.num_layers), [USERS])
        semantic = item
        for _ in range(config.num_item_layers):
            semantic = graph @ semantic
        others = from_nearest_users(user, config.user_k, drawn=drawn)
        views[view] = (user + others, item + semantic if config.num_item_layers else item)
    sides = (np.concatenate([v[side] for v in views.values()], axis=1) for side in (0, 1))
    return {**views, "fused": (*sides,)}


def adaptive_bpr(views: list[tuple[Matrix, Matrix]]) -> float:
    total = 0.0
    for u, p, n in zip(*(ids.tolist() for ids in BATCH), strict=True):
        margins = [user[u] @ item[p] - user[u] @ item[n] for user, item in views]
        odds = [math.exp(margin) for margin in margins]
        weights = [1 - o / sum(odds) for o in odds]
        margin = sum(w * m for w, m in zip(weights, margins, strict=True))
        total -= math.log2(1 / (1 + math.exp(-margin)))
    return total / len(BATCH.user)


@pytest.mark.parametrize(
    "changes", [{}, {"num_layers": 1, "num_item_layers": 2, "user_k": 40}, {"num_item_layers": 0}]
)
@pytest.mark.parametrize(
    ("modalities", "weights"),
    [
        (BOTH, PUBLISHED),
        (("textual",), {"textual": 1.0}),
        ((*BOTH, "acoustic"), {"visual": 1 / 3, "textual": 1 / 3, "acoustic": 1 / 3}),
    ],
)
def test_equals_loops(
    modalities: tuple[str, ...], weights: dict[str, float], changes: dict[str, Any]
) -> None:
    data = gappy_data(*modalities)
    model = COHESION.from_data(data, COHESIONConfig(**{**SETTINGS, **changes}))
    expected, reps = reference(model, data, weights), model.encode(data)
    assert list(reps.views) == ["fused", "id", *modalities]
    for view, sides in expected.items():
        for actual, side in zip((reps.user[view], reps.item[view]), sides, strict=True):
            np.testing.assert_allclose(actual.detach().numpy(), side, atol=2e-6, err_msg=view)


@pytest.mark.parametrize("modalities", [BOTH, ("textual",)])
@pytest.mark.parametrize("user_k", [2, 5])
def test_terms_of_an_epoch_equal_loops(modalities: tuple[str, ...], user_k: int) -> None:
    data = gappy_data(*modalities)
    weights = {"textual": 0.6, "visual": 0.4} if len(modalities) > 1 else {"textual": 2.0}
    config = COHESIONConfig(
        **{**SETTINGS, "user_k": user_k, "reg_weight": 0.7}, modality_weights=weights
    )
    model = COHESION.from_data(data, config)
    inputs = model.prepare(data)
    epoch = model.resample(inputs, 0, torch.Generator().manual_seed(3))
    drawn = drawn_users(inputs.graphs["shared"], user_k, torch.Generator().manual_seed(3))
    views = reference(model, data, weights, drawn)
    del views["fused"]
    penalty = sum(
        (numbers(model.encoders[m].user_preference)[BATCH.user] ** 2).mean() for m in modalities
    )
    terms = {name: term.item() for name, term in model.loss(epoch, *BATCH).items()}
    expected = {"bpr": adaptive_bpr([*views.values()]), "reg": 0.7 * penalty}
    assert terms == pytest.approx(expected, rel=1e-5)


def test_views_that_tell_items_apart_weigh_less() -> None:
    model = COHESION.from_data(gappy_data(*BOTH), COHESIONConfig(embedding_dim=1))
    user = torch.ones(USERS, 3)
    item = torch.zeros(ITEMS, 3)
    item[BATCH.pos_item] = torch.tensor([5.0, 0.0, 0.0])
    reps = Representations({"fused": user}, {"fused": item})
    one = type(BATCH)(*(ids[:1] for ids in BATCH))
    share = math.exp(5) / (math.exp(5) + 2)
    expected = math.log2(1 + math.exp(-5 * (1 - share)))
    assert model.adaptive_bpr(reps, one).item() == pytest.approx(expected, rel=1e-6)


def test_no_gradient_goes_through_the_weights_of_views() -> None:
    model = COHESION.from_data(gappy_data(*BOTH), COHESIONConfig(embedding_dim=4))
    user = torch.randn(USERS, 12, dtype=torch.float64, requires_grad=True)
    item = torch.randn(ITEMS, 12, dtype=torch.float64, requires_grad=True)
    loss = model.adaptive_bpr(Representations({"fused": user}, {"fused": item}), BATCH)
    found = torch.autograd.grad(loss, [user, item])
    expected = [torch.zeros_like(user), torch.zeros_like(item)]
    for u, p, n in zip(*(ids.tolist() for ids in BATCH), strict=True):
        margins = [(user[u] * (item[p] - item[n]))[4 * v : 4 * v + 4].sum() for v in range(3)]
        total = sum(margin.exp() for margin in margins)
        weight = torch.cat([(1 - margin.exp() / total).expand(4) for margin in margins]).detach()
        slope = -1 / (1 + (weight * user[u] * (item[p] - item[n])).sum().exp()).item()
        slope /= math.log(2) * len(BATCH.user)
        expected[0][u] += slope * weight * (item[p] - item[n]).detach()
        expected[1][p] += slope * weight * user[u].detach()
        expected[1][n] -= slope * weight * user[u].detach()
    torch.testing.assert_close(found, tuple(expected))


def test_the_softmax_compares_views_side_by_side() -> None:
    data = gappy_data(*BOTH)
    config = COHESIONConfig(**SETTINGS, ranking_loss="softmax")
    model = COHESION.from_data(data, config)
    inputs = model.prepare(data)
    terms = model.loss(inputs, *BATCH)
    assert list(terms) == ["softmax", "reg"]
    expected = ranking_terms(model.represent(inputs), BATCH, config)["softmax"]
    assert torch.equal(terms["softmax"], expected)


@pytest.mark.parametrize("modalities", [BOTH, ("textual",)])
def test_gradients_are_slopes(modalities: tuple[str, ...]) -> None:
    data = gappy_data(*modalities)
    config = COHESIONConfig(**SETTINGS, ranking_loss="softmax", reg_weight=0.7)
    model = COHESION.from_data(data, config).double()
    inputs = doubled(model.prepare(data))
    assert_slopes(model, lambda: model.loss(inputs, *BATCH))


def test_the_view_of_ids_is_kept_as_drawn_where_asked() -> None:
    data, grads, reps = gappy_data(*BOTH), [], []
    for train_id_view in (True, False):
        torch.manual_seed(4)
        config = COHESIONConfig(**SETTINGS, train_id_view=train_id_view)
        model = COHESION.from_data(data, config)
        reps.append(model.encode(data).nodes("fused"))
        before = {name: p.clone() for name, p in model.named_parameters()}
        sum(model.loss(data, *BATCH).values()).backward()
        grads.append({name: p.grad for name, p in model.named_parameters()})
        Step(model.objectives(), lr=0.1)(model.prepare(data), BATCH)
        for name, parameter in model.named_parameters():
            stays = not train_id_view and name.startswith("encoders.id.")
            assert torch.equal(parameter, before[name]) == stays, name
    assert torch.equal(*reps)
    for name, grad in grads[0].items():
        if name.startswith("encoders.id."):
            assert not grads[1][name].any()
        elif name == "item_embedding":
            assert not torch.allclose(grads[1][name], grad)
        else:
            torch.testing.assert_close(grads[1][name], grad)


def test_what_stands_in_for_a_lacking_modality_plays_no_part() -> None:
    data = gappy_data(*BOTH)
    other, model = data.clone(), COHESION.from_data(data, COHESIONConfig(**SETTINGS))
    other["item"].x_textual = data["item"].x_textual.clone()
    other["item"].x_textual[~data["item"].has_textual] = 50.0
    assert torch.equal(model.encode(data).nodes("fused"), model.encode(other).nodes("fused"))
    # What lacks a modality starts as its ids, up to their signs.
    start = model.nodes(model.prepare(data))[2, USERS:]
    ids = torch.nn.functional.normalize(model.item_embedding.abs())
    torch.testing.assert_close(start[[3, 4]], ids[[3, 4]], rtol=1e-5, atol=1e-5)
    sum(model.loss(data, *BATCH).values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_an_item_graph_of_ones_own_is_taken() -> None:
    data = gappy_data(*BOTH)
    own, model = data.clone(), COHESION.from_data(data, COHESIONConfig(**SETTINGS))
    own[SEMANTIC].edge_index = torch.tensor([[1, 2], [0, 0]])
    own[SEMANTIC].edge_weight = torch.tensor([0.25, 2.0])
    expected = torch.zeros(ITEMS, ITEMS)
    expected[0, 1:3] = torch.tensor([0.25, 2.0])
    torch.testing.assert_close(model.prepare(own).graphs["item"].to_dense(), expected)


def test_epochs_differ_and_ranking_draws_nothing() -> None:
    data = gappy_data(*BOTH)
    model = COHESION.from_data(data, COHESIONConfig(**{**SETTINGS, "user_k": 6}))
    inputs = model.prepare(data)
    graphs = [
        model.resample(inputs, epoch, torch.Generator().manual_seed(epoch)).graphs
        for epoch in (0, 1, 0)
    ]
    assert torch.equal(graphs[0]["user"].weight, graphs[2]["user"].weight)
    assert not torch.equal(graphs[0]["user"].weight, graphs[1]["user"].weight)
    assert graphs[0]["interaction"] is inputs.graphs["interaction"]
    assert graphs[0]["item"] is inputs.graphs["item"]


def test_defaults() -> None:
    config = COHESIONConfig()
    assert (config.embedding_dim, config.num_layers, config.num_item_layers) == (64, 2, 1)
    assert (config.k, config.user_k, config.modality_weights) == (10, 40, None)
    assert (config.train_id_view, config.reg_weight) == (True, 1e-4)


def test_refuses_data_without_features() -> None:
    with pytest.raises(ValueError, match=r"COHESION needs at least one modality; add features"):
        COHESION.from_data(gappy_data())
