import math
from typing import Any

import numpy as np
import pytest
import torch

from mentor_pyg.data import UserBatch
from mentor_pyg.models import MENTORPlus, MENTORPlusConfig
from tests.models.dense import (
    BATCH,
    BOTH,
    EDGES,
    ITEMS,
    USERS,
    Matrix,
    bpr,
    gappy_data,
    has,
    light_gcn,
    linear,
    nearest,
    numbers,
    seeded,
    unit,
)

SETTINGS: dict[str, Any] = {"embedding_dim": 4, "k": 3}


def reference(model: MENTORPlus, data: Any, weights: dict[str, float]) -> tuple[Matrix, Matrix]:
    """Return users and items by the equations, item by item."""
    config, modalities = model.config, list(model.sizes.channels)
    x = numbers(model.item_embedding).copy()
    for modality in modalities if config.content else ():
        rows = linear(model.projections[modality], unit(numbers(data["item"][f"x_{modality}"])))
        for i in range(ITEMS):
            if has(data, modality)[i]:
                x[i] += rows[i]
    user, item = light_gcn(numbers(model.user_embedding), x, config.num_layers)
    others = {}
    for modality in modalities:
        features, present = numbers(data["item"][f"x_{modality}"]), has(data, modality)
        found = nearest(features, present, config.k + 1)
        others[modality] = {i: [j for a, j in found if a == i != j] for i in range(ITEMS)}
    for i in range(ITEMS):
        held = [m for m in modalities if others[m][i]]
        total = sum(weights[m] for m in held)
        for m in held:
            mean = sum(x[j] for j in others[m][i]) / len(others[m][i])
            item[i] = item[i] + config.item_graph_weight * weights[m] / total * mean
    return user, item


@pytest.mark.parametrize(
    "changes", [{}, {"content": False}, {"item_graph_weight": 0.0}, {"num_layers": 3}]
)
@pytest.mark.parametrize("modalities", [BOTH, ("textual",), (*BOTH, "acoustic")])
def test_equals_loops(modalities: tuple[str, ...], changes: dict[str, Any]) -> None:
    data = gappy_data(*modalities)
    settings = {"ranking_similarity": "dot", **SETTINGS, **changes}
    model = MENTORPlus.from_data(data, MENTORPlusConfig(**settings))
    torch.nn.init.normal_(model.item_embedding, generator=seeded())
    for projection in model.projections.values():
        torch.nn.init.normal_(projection.bias, generator=seeded(1))
    weights = (
        {"visual": 0.1, "textual": 0.9} if modalities == BOTH else dict.fromkeys(modalities, 1)
    )
    user, item = reference(model, data, weights)
    reps = model.encode(data)
    np.testing.assert_allclose(numbers(reps.user["fused"]), user, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(numbers(reps.item["fused"]), item, rtol=1e-6, atol=1e-6)


def test_weights_of_the_item_graphs() -> None:
    data, weights = gappy_data(*BOTH), {"visual": 0.7, "textual": 0.3}
    config = MENTORPlusConfig(ranking_similarity="dot", modality_weights=weights, **SETTINGS)
    model = MENTORPlus.from_data(data, config)
    _, item = reference(model, data, weights)
    np.testing.assert_allclose(numbers(model.encode(data).item["fused"]), item, rtol=0, atol=1e-6)


def test_loss_is_the_softmax_of_cosines() -> None:
    data = gappy_data(*BOTH)
    model = MENTORPlus.from_data(data, MENTORPlusConfig(**SETTINGS))
    user, item = map(unit, reference(model, data, {"visual": 0.1, "textual": 0.9}))
    losses = []
    for u, i in zip(BATCH.user.tolist(), BATCH.pos_item.tolist(), strict=True):
        odds = [math.exp(user[u] @ row / 0.2) for row in item]
        losses.append(-math.log(odds[i] / sum(odds)))
    terms = model.loss(data, *BATCH)
    assert list(terms) == ["softmax"]
    assert terms["softmax"].item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    of_users = model.terms(model.prepare(data), UserBatch(*BATCH), draws=None)  # type: ignore[arg-type]
    assert of_users["softmax"].item() == pytest.approx(terms["softmax"].item(), rel=1e-5)


def test_loss_may_be_bpr() -> None:
    data = gappy_data(*BOTH)
    model = MENTORPlus.from_data(data, MENTORPlusConfig(ranking_loss="bpr", **SETTINGS))
    user, item = reference(model, data, {"visual": 0.1, "textual": 0.9})
    terms = {name: term.item() for name, term in model.loss(data, *BATCH).items()}
    assert terms == pytest.approx({"bpr": bpr(user, item, BATCH)}, rel=1e-5)


def test_an_epoch_does_without_half_of_the_interactions() -> None:
    data = gappy_data(*BOTH)
    model = MENTORPlus.from_data(data, MENTORPlusConfig(**SETTINGS))
    inputs = model.prepare(data)
    kept = [model.resample(inputs, epoch, seeded(epoch)) for epoch in range(300)]
    counts = torch.stack([epoch.graphs["interaction"].to_dense() > 0 for epoch in kept]).float()
    assert all(e.graphs["interaction"].num_edges == len(EDGES) for e in kept)  # Both directions.
    shares = torch.stack([counts.mean(dim=0)[u, USERS + i] for u, i in EDGES])
    # Of 300 draws of one half each: five standard errors; by degree, shares are .3 to .7.
    assert (shares - 0.5).abs().max() < 0.145
    assert all(epoch.graphs["item"] is inputs.graphs["item"] for epoch in kept)
    assert inputs.graphs["interaction"].num_edges == 2 * len(EDGES)


def test_without_item_graph_none_is_made() -> None:
    data = gappy_data(*BOTH)
    config = MENTORPlusConfig(item_graph_weight=0.0)
    inputs = MENTORPlus.from_data(data, config).prepare(data)
    assert list(inputs.graphs) == ["interaction"]
    assert MENTORPlus.transform(config)(data).edge_types == data.edge_types


def test_a_graph_of_ones_own_stays_as_it_is() -> None:
    data = gappy_data("textual", complete=True)
    own = data["item", "semantic", "item"]
    own.edge_index, own.edge_weight = torch.tensor([[0, 1], [1, 0]]), torch.tensor([0.5, 2.0])
    model = MENTORPlus.from_data(data, MENTORPlusConfig(**SETTINGS))
    expected = torch.zeros(ITEMS, ITEMS)
    expected[[1, 0], [0, 1]] = own.edge_weight
    torch.testing.assert_close(model.prepare(data).graphs["item"].to_dense(), expected)


def test_defaults() -> None:
    config = MENTORPlusConfig()
    assert (config.ranking_loss, config.ranking_similarity) == ("softmax", "cosine")
    assert (config.ranking_temperature, config.num_layers, config.k) == (0.2, 2, 10)
    assert (config.item_graph_weight, config.prune_ratio, config.content) == (2.0, 0.5, True)


def test_refuses_data_without_features() -> None:
    with pytest.raises(ValueError, match="MENTORPlus needs at least one modality"):
        MENTORPlus.from_data(gappy_data())
