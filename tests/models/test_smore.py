import cmath
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import UserBatch
from mentor_pyg.models import SMORE, Draws, SMOREConfig
from mentor_pyg.models.behaviour import BehaviourRecommender
from tests.models.dense import (
    BATCH,
    BOTH,
    ITEMS,
    USERS,
    Matrix,
    Sparse,
    Spy,
    bpr,
    by_row_sums,
    gappy_data,
    half_squares,
    has,
    heard_by_users,
    light_gcn,
    linear,
    nearest,
    numbers,
    over_item_graph,
    side_contrast,
    sigmoid,
)

SETTINGS: dict[str, Any] = {"embedding_dim": 4, "k": 4, "num_layers": 2}


def spectrum(x: Matrix) -> list[complex]:
    """Return the Fourier transform of a row, of unit norm, up to the middle frequency."""
    d = len(x)
    return [
        sum(x[n] * cmath.exp(-2j * math.pi * k * n / d) for n in range(d)) / math.sqrt(d)
        for k in range(d // 2 + 1)
    ]


def inverse(values: list[complex], d: int) -> list[float]:
    """Return the real row of a spectrum, whose other frequencies are the conjugates of these."""
    row = []
    for n in range(d):
        total = values[0].real
        for k in range(1, (d + 1) // 2):
            total += 2 * (values[k] * cmath.exp(2j * math.pi * k * n / d)).real
        if d % 2 == 0:
            total += values[d // 2].real * (-1) ** n
        row.append(total / math.sqrt(d))
    return row


def filtered(model: SMORE, data: HeteroData) -> dict[str, Matrix]:
    """Return every view's filtered features; where items have none, they are of no matter."""
    d, modalities = model.config.embedding_dim, list(model.sizes.channels)
    filters = numbers(model.filters) @ [1, 1j]
    projected = {
        m: linear(model.projections[m], numbers(data["item"][f"x_{m}"])) for m in modalities
    }
    out: dict[str, list[list[float]]] = {view: [] for view in (*modalities, "fused")}
    for i in range(ITEMS):
        fused = [complex(1)] * (d // 2 + 1)
        for m, weights in zip(modalities, filters, strict=False):
            own = spectrum(projected[m][i])
            out[m].append(inverse([a * b for a, b in zip(own, weights, strict=True)], d))
            if has(data, m)[i]:
                fused = [a * b for a, b in zip(fused, own, strict=True)]
        out["fused"].append(inverse([a * b for a, b in zip(fused, filters[-1], strict=True)], d))
    return {view: np.array(rows) for view, rows in out.items()}


def reference(
    model: SMORE, data: HeteroData, keep: dict[str, Matrix] | None = None
) -> dict[str, Matrix]:
    """Return users, then items, of every view, "f", and "side", what the modalities add."""
    config, modalities = model.config, list(model.sizes.channels)
    ids = numbers(model.item_embedding)
    tables = numbers(model.user_embedding), ids
    nodes = {"id": np.concatenate(light_gcn(*tables, config.num_layers))}
    graphs: dict[str, Sparse] = {}
    pooled: Sparse = {}
    for m in modalities:
        x = numbers(data["item"][f"x_{m}"])
        assert isinstance(config.k, int)
        graphs[m] = by_row_sums(nearest(x, has(data, m), config.k))
        for pair, weight in graphs[m].items():
            pooled[pair] = max(weight, pooled.get(pair, -math.inf))
    graphs["fused"] = pooled
    present = {m: has(data, m) for m in modalities}
    present["fused"] = [any(present[m][i] for m in modalities) for i in range(ITEMS)]
    for view, rows in filtered(model, data).items():
        gated = ids * sigmoid(linear(model.gates[view], rows))
        items = over_item_graph(graphs[view], gated, present[view], config.num_item_layers)
        name = "f" if view == "fused" else view
        nodes[name] = np.concatenate([heard_by_users(items), items])
    side = np.zeros_like(nodes["id"])
    for n in range(USERS + ITEMS):
        for view in (*modalities, "fused"):
            preference = sigmoid(linear(model.preferences[view], nodes["id"][n]))
            if keep is not None:
                preference = preference * keep[view][n] / (1 - config.drop_ratio)
            row = nodes["f" if view == "fused" else view][n]
            if view != "fused":
                query = model.queries[view]
                score = linear(query[2], np.tanh(linear(query[0], nodes["f"][n])))
                row = row * np.exp(score) / sum(math.exp(s) for s in score)
            side[n] += preference * row / (len(modalities) + 1)
    return {**nodes, "side": side, "fused": nodes["id"] + side}


def expected_terms(model: SMORE, nodes: dict[str, Matrix]) -> dict[str, float]:
    config = model.config
    user, item = np.split(nodes["fused"], [USERS])
    contrast = side_contrast(nodes, BATCH.user.numpy(), config.temperature)
    return {
        "bpr": bpr(user, item, BATCH),
        "contrast": config.contrast_weight * contrast,
        "reg": config.reg_weight * half_squares(user, item, BATCH),
    }


@pytest.mark.parametrize("num_item_layers", [0, 1, 2])
@pytest.mark.parametrize("embedding_dim", [4, 5])
@pytest.mark.parametrize("modalities", [BOTH, ("textual",), (*BOTH, "acoustic")])
def test_equals_loops(
    modalities: tuple[str, ...], embedding_dim: int, num_item_layers: int
) -> None:
    data = gappy_data(*modalities)
    config = SMOREConfig(embedding_dim=embedding_dim, k=4, num_item_layers=num_item_layers)
    model = SMORE.from_data(data, config)
    expected, reps = reference(model, data), model.encode(data)
    assert set(reps.views) == {"fused", "id", *modalities}
    for view in reps.views:
        actual = numbers(reps.nodes(view))
        np.testing.assert_allclose(actual, expected[view], rtol=0, atol=1e-6, err_msg=view)


@pytest.mark.parametrize("modalities", [BOTH, ("textual",)])
def test_terms_equal_loops(modalities: tuple[str, ...]) -> None:
    data = gappy_data(*modalities)
    config = SMOREConfig(**SETTINGS, contrast_weight=0.3, temperature=0.4, reg_weight=0.7)
    model = SMORE.from_data(data, config)
    terms = {name: term.item() for name, term in model.loss(data, *BATCH).items()}
    assert terms == pytest.approx(expected_terms(model, reference(model, data)), rel=1e-5)


def test_training_drops_entries_of_the_preferences() -> None:
    data = gappy_data(*BOTH)
    config = SMOREConfig(**SETTINGS, contrast_weight=0.3, reg_weight=0.7, drop_ratio=0.4)
    model = SMORE.from_data(data, config)
    views, shape = (*BOTH, "fused"), (USERS + ITEMS, 4)
    generator = torch.Generator().manual_seed(1)
    keep = {view: torch.rand(shape, generator=generator) < 0.6 for view in views}
    nodes = reference(model, data, {view: mask.numpy() for view, mask in keep.items()})
    draws = Draws({f"keep/{view}": mask for view, mask in keep.items()})
    terms = {name: term.item() for name, term in model.loss(data, *BATCH, draws=draws).items()}
    assert terms == pytest.approx(expected_terms(model, nodes), rel=1e-5)
    np.testing.assert_allclose(
        numbers(model.encode(data).nodes("fused")), reference(model, data)["fused"], atol=1e-6
    )
    spy = Spy()
    model.loss(data, *BATCH, draws=spy)
    assert spy.asked == {f"keep/{view}": (shape, 0.4) for view in views}


def test_users_of_a_user_batch_are_contrasted_once() -> None:
    data = gappy_data(*BOTH)
    model = SMORE.from_data(data, SMOREConfig(**SETTINGS, contrast_weight=1.0))
    nodes = reference(model, data)
    terms = model.terms(model.prepare(data), UserBatch(*BATCH), Draws())
    expected = side_contrast(nodes, [0, 2, 5, 6], 0.2)
    assert terms["contrast"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("num_item_layers", [0, 1])
def test_what_is_lacking_has_no_part(num_item_layers: int) -> None:
    data = gappy_data(*BOTH)
    for modality in BOTH:
        data["item"][f"x_{modality}"][[3, 4, 5]] += 9.0  # What stands in for it does not matter.
    config = SMOREConfig(**SETTINGS, num_item_layers=num_item_layers)
    model = SMORE.from_data(data, config)
    inputs = model.prepare(data)
    reps, views = model.encode(inputs), model.item_graph_views(inputs)
    side = reps.nodes("fused") - reps.nodes("id")
    # User 7 has no interactions; item 4 lacks both, items 3 and 5 one.
    assert (side[[7, USERS + 4]] == 0).all()
    assert (views["fused"][USERS + 4] == 0).all()
    for item, lacking in ((3, "textual"), (5, "visual")):
        assert (views[lacking][USERS + item] == 0).all()
        assert (views["fused"][USERS + item] != 0).all()


def test_the_fused_spectrum_is_that_of_the_modalities_there() -> None:
    data = gappy_data(*BOTH)
    model = SMORE.from_data(data, SMOREConfig(**SETTINGS))
    with torch.no_grad():
        model.filters.copy_(torch.tensor([1.0, 0.0]).expand_as(model.filters))
    rows = model.filtered_features(model.prepare(data))
    for item, there in ((3, "visual"), (5, "textual")):
        x = model.projections[there](data["item"][f"x_{there}"])
        torch.testing.assert_close(rows["fused"][item], x[item])
        torch.testing.assert_close(rows[there], x)


def test_the_graph_of_the_fused_view_has_the_larger_weight_of_every_edge() -> None:
    data = gappy_data(*BOTH)
    graphs = SMORE.from_data(data, SMOREConfig(**SETTINGS)).prepare(data).graphs
    visual, textual = (graphs[f"item/{m}"].to_dense() for m in BOTH)
    there = torch.stack([visual, textual]).masked_fill(
        torch.stack([visual == 0, textual == 0]), -torch.inf
    )
    expected = there.amax(dim=0).nan_to_num(neginf=0.0)
    assert torch.equal(graphs["item/fused"].to_dense(), expected)


def test_gradients_are_finite_where_views_are_empty() -> None:
    data = gappy_data(*BOTH)
    model = SMORE.from_data(data, SMOREConfig(**SETTINGS, drop_ratio=0.1))
    sum(model.loss(data, *BATCH).values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_without_contrast_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    data = gappy_data(*BOTH)
    model = SMORE.from_data(data, SMOREConfig(contrast_weight=0, ranking_loss="softmax", k=3))
    monkeypatch.delattr(BehaviourRecommender, "contrast_loss")
    terms = model.loss(data, *BATCH)
    assert list(terms) == ["softmax", "contrast", "reg"]
    assert terms["contrast"] == 0


def test_neighbours_for_each_modality() -> None:
    data = gappy_data(*BOTH, complete=True)
    model = SMORE.from_data(data, SMOREConfig(k={"visual": 2, "textual": 5}))
    graphs = model.prepare(data).graphs
    assert graphs["item/visual"].num_edges == 2 * ITEMS
    assert graphs["item/textual"].num_edges == 5 * ITEMS


def test_filters_are_drawn_from_a_normal_distribution() -> None:
    torch.manual_seed(0)
    model = SMORE.from_data(gappy_data(*BOTH), SMOREConfig(embedding_dim=256, k=4))
    assert model.filters.shape == (3, 129, 2)
    assert model.filters.std().item() == pytest.approx(1, abs=0.1)
    assert abs(model.filters.mean().item()) < 0.1


def test_needs_a_modality() -> None:
    with pytest.raises(ValueError, match=r"SMORE needs at least one modality; add features as "):
        SMORE.from_data(gappy_data())


def test_defaults() -> None:
    config = SMOREConfig()
    assert (config.embedding_dim, config.num_layers, config.num_item_layers) == (64, 3, 1)
    assert (config.k, config.contrast_weight, config.temperature) == (10, 0.01, 0.2)
    assert (config.drop_ratio, config.reg_weight) == (0.0, 1e-4)
