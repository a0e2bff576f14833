import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.models import DualGNN, DualGNNConfig
from mentor_pyg.models.user_graph import aggregation, co_occurrence, drawn_multiplicity
from tests.models.dense import (
    BATCH,
    BOTH,
    ITEMS,
    USERS,
    Matrix,
    bpr,
    drawn_users,
    from_nearest_users,
    gappy_data,
    has,
    leaky_relu,
    light_gcn,
    linear,
    nearest_users,
    numbers,
    set_interactions,
    unit,
)

SETTINGS: dict[str, Any] = {"embedding_dim": 4, "k": 3}


def reference(
    model: DualGNN, data: HeteroData, drawn: dict[tuple[int, int], int] | None = None
) -> dict[str, tuple[Matrix, Matrix]]:
    """Return users and items of every view."""
    weights, views = numbers(model.fusion.user_modality_weight()), {}
    own, fused = np.zeros((USERS, 4)), np.zeros((ITEMS, 4))
    for n, modality in enumerate(model.sizes.channels):
        encoder, layers = model.encoders[modality], model.config.num_layers
        item = linear(encoder.hidden, numbers(data["item"][f"x_{modality}"]))
        item = linear(encoder.output, leaky_relu(item))
        item[[i for i in range(ITEMS) if not has(data, modality)[i]]] = 0
        user, item = light_gcn(unit(numbers(encoder.user_preference)), unit(item), layers)
        views[modality] = (user * (layers + 1), item * (layers + 1))
        own += weights[:, n : n + 1] * views[modality][0]
        fused += views[modality][1]
    others = from_nearest_users(own, model.config.k, model.config.user_aggregation, drawn)
    return {**views, "fused": (own + others, fused)}


@pytest.mark.parametrize(
    "changes", [{}, {"k": 40}, {"k": 1, "num_layers": 1}, {"user_aggregation": "mean"}]
)
@pytest.mark.parametrize("modalities", [BOTH, ("textual",), (*BOTH, "acoustic")])
def test_equals_loops(modalities: tuple[str, ...], changes: dict[str, Any]) -> None:
    data = gappy_data(*modalities)
    model = DualGNN.from_data(data, DualGNNConfig(**{**SETTINGS, **changes}))
    expected, reps = reference(model, data), model.encode(data)
    assert set(reps.views) == {"fused", *modalities}
    for view, sides in expected.items():
        for actual, side in zip((reps.user[view], reps.item[view]), sides, strict=True):
            np.testing.assert_allclose(actual.detach().numpy(), side, rtol=0, atol=2e-6)


@pytest.mark.parametrize("softmax_weights", [False, True])
@pytest.mark.parametrize("k", [2, 5])
def test_terms_of_an_epoch_equal_loops(k: int, softmax_weights: bool) -> None:
    data = gappy_data(*BOTH)
    config = DualGNNConfig(**{**SETTINGS, "k": k}, reg_weight=0.7, softmax_weights=softmax_weights)
    model = DualGNN.from_data(data, config)
    torch.nn.init.normal_(model.fusion.weight)
    inputs = model.prepare(data)
    epoch = model.resample(inputs, 0, torch.Generator().manual_seed(3))
    drawn = drawn_users(inputs.graphs["shared"], k, torch.Generator().manual_seed(3))
    user, item = reference(model, data, drawn)["fused"]
    weights = numbers(model.fusion.user_modality_weight())
    penalty = (weights**2).mean()
    for encoder in model.encoders.values():
        penalty += (numbers(encoder.user_preference)[BATCH.user] ** 2).mean()
    terms = {name: term.item() for name, term in model.loss(epoch, *BATCH).items()}
    expected = {"bpr": bpr(user, item, BATCH) / math.log(2), "reg": 0.7 * penalty}
    assert terms == pytest.approx(expected, rel=1e-5)
    if softmax_weights:
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 40])
def test_neighbours_share_the_most_items(k: int) -> None:
    graph = co_occurrence(gappy_data(*BOTH), k)
    found = zip(graph.target.tolist(), graph.col.tolist(), graph.weight.tolist(), strict=True)
    expected = {(u, v, n) for u, shared in nearest_users(k).items() for v, n in shared.items()}
    assert sorted(found) == sorted(expected)
    assert graph.rowptr[6] == graph.rowptr[8]  # Users 6 and 7 share nothing.


def test_weights_do_not_overflow() -> None:
    graph = co_occurrence(gappy_data(*BOTH), 3)
    counts = graph.with_weight(graph.weight * 1000)
    weight = aggregation(counts, "softmax").weight
    assert weight.isfinite().all()
    sums = torch.zeros(USERS).index_add(0, graph.target, weight)
    torch.testing.assert_close(sums, (graph.rowptr.diff() > 0).float())


def test_neighbours_are_drawn_again_as_often_as_they_were_drawn() -> None:
    graph, k = co_occurrence(gappy_data(*BOTH), 5), 5
    counts, user = graph.rowptr.diff(), 0
    assert counts[user] == 3
    generator, found = torch.Generator().manual_seed(1), Counter[tuple[int, ...]]()
    for _ in range(1200):
        drawn = drawn_multiplicity(graph, k, generator)
        sums = torch.zeros(USERS, dtype=torch.long).index_add(0, graph.target, drawn)
        assert torch.equal(sums, torch.where(counts > 0, k, 0))
        assert drawn.min() >= 1
        found[tuple(drawn[graph.rowptr[user] : graph.rowptr[user + 1]].tolist())] += 1
    # An urn with a ball of each of 3 colours, two draws that put in one more of what they show:
    # 3 of 4 * 3 ways for each of the six ends.
    assert set(found) == {(3, 1, 1), (1, 3, 1), (1, 1, 3), (2, 2, 1), (2, 1, 2), (1, 2, 2)}
    assert all(abs(n - 200) < 60 for n in found.values())


def test_epochs_differ_and_ranking_draws_nothing() -> None:
    data = gappy_data(*BOTH)
    model = DualGNN.from_data(data, DualGNNConfig(**{**SETTINGS, "k": 6}))
    inputs = model.prepare(data)
    graphs = [
        model.resample(inputs, epoch, torch.Generator().manual_seed(epoch)).graphs["user"]
        for epoch in (0, 1, 0)
    ]
    assert torch.equal(graphs[0].weight, graphs[2].weight)
    assert not torch.equal(graphs[0].weight, graphs[1].weight)
    full = model.resample(inputs, 0, torch.Generator()).graphs["shared"]
    assert full is inputs.graphs["shared"]


def test_a_user_who_shares_nothing_is_alone() -> None:
    data = gappy_data(*BOTH)
    model = DualGNN.from_data(data, DualGNNConfig(**SETTINGS))
    reps, weights = model.encode(data), model.fusion.user_modality_weight()
    for user in (6, 7):
        alone = sum(weights[user, n] * reps.user[m][user] for n, m in enumerate(BOTH))
        torch.testing.assert_close(reps.user["fused"][user], alone)


def test_without_items_in_common_there_is_no_graph_of_users() -> None:
    data = gappy_data(*BOTH)
    set_interactions(data, torch.tensor([[0, 1, 2], [0, 1, 2]]))
    model = DualGNN.from_data(data, DualGNNConfig(**SETTINGS))
    inputs = model.prepare(data)
    epoch = model.resample(inputs, 0, torch.Generator())
    assert epoch.graphs["user"].num_edges == 0
    assert all(term.isfinite() for term in model.loss(epoch, *BATCH).values())


def test_modality_weights_start_as_a_softmax() -> None:
    model = DualGNN.from_data(gappy_data(*BOTH))
    torch.testing.assert_close(model.fusion.user_modality_weight().sum(dim=1), torch.ones(USERS))


def test_defaults() -> None:
    config = DualGNNConfig()
    assert (config.embedding_dim, config.num_layers, config.k) == (64, 2, 40)
    assert (config.user_aggregation, config.softmax_weights) == ("softmax", False)
    assert config.reg_weight == 0.1


def test_refuses_data_without_features() -> None:
    with pytest.raises(ValueError, match=r"DualGNN needs at least one modality; add features"):
        DualGNN.from_data(gappy_data())
