import math
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import UserBatch
from mentor_pyg.models import GUME, Draws, GUMEConfig
from mentor_pyg.models.step import Step
from tests.models.dense import (
    BATCH,
    BOTH,
    EDGES,
    ITEMS,
    USERS,
    Matrix,
    assert_slopes,
    bpr,
    doubled,
    fused_by_behaviour,
    gappy_data,
    half_squares,
    has,
    info_nce,
    nearest,
    numbers,
    purified_items,
    side_contrast,
    unit,
)

SETTINGS: dict[str, Any] = {"embedding_dim": 4, "k": 5}
NODES = USERS + ITEMS
WEIGHTS = {
    "align_weight": 0.6, "contrast_weight": 0.3, "temperature": 0.4, "user_contrast_weight": 0.5,
    "user_temperature": 0.25, "noise_scale": 0.2, "reg_weight": 0.7, "extended_reg_weight": 0.9,
}  # fmt: skip
VIEWS = ("fused", "extended")


def common_neighbours(data: HeteroData, modalities: list[str], k: int) -> set[tuple[int, int]]:
    """Return every item with the others that are near in all modalities that it has."""
    present = {m: has(data, m) for m in modalities}
    near = {m: nearest(numbers(data["item"][f"x_{m}"]), present[m], k) for m in modalities}
    found = set()
    for i in range(ITEMS):
        held = [m for m in modalities if present[m][i]]
        for j in range(ITEMS):
            if i != j and held and all((i, j) in near[m] for m in held):
                found.add((i, j))
    return found


def joint_graph(common: set[tuple[int, int]]) -> Matrix:
    graph = np.zeros((NODES, NODES))
    for u, i in EDGES:
        graph[u, USERS + i] = graph[USERS + i, u] = 1
    for i, j in common:
        graph[USERS + i, USERS + j] = 1
    degree = [graph[n].sum() for n in range(NODES)]
    for a in range(NODES):
        for b in range(NODES):
            if graph[a, b]:  # Items that are near may have nothing near themselves.
                graph[a, b] = 1 / math.sqrt(degree[a] * degree[b]) if degree[b] else 0
    return graph


def layers_mean(graph: Matrix, x: Matrix, num_layers: int) -> Matrix:
    layers = [x]
    for _ in range(num_layers):
        layers.append(graph @ layers[-1])
    return np.asarray(sum(layers) / (num_layers + 1))


def reference(model: GUME, data: HeteroData) -> dict[str, Matrix]:
    """Return users, then items, of every view, of "side", what the modalities add, and more."""
    config, modalities = model.config, list(model.sizes.channels)
    graph = joint_graph(common_neighbours(data, modalities, config.k))
    x = np.concatenate([numbers(model.user_embedding), numbers(model.item_embedding)])
    nodes = {"id": layers_mean(graph, x, config.num_layers)}
    views = {m: purified_items(model, data, m) for m in modalities}
    for modality, items in views.items():
        nodes[modality] = np.concatenate([graph[:USERS, USERS:] @ items, items])
    side = fused_by_behaviour(model, nodes)
    held = sum(items.any(axis=1, keepdims=True).astype(int) for items in views.values())
    means = sum(views.values()) / np.maximum(held, 1)
    extended = np.concatenate([numbers(model.extended_user), means])
    extended = layers_mean(graph, extended, config.num_layers)
    return {**nodes, "side": side, "fused": nodes["id"] + side, "extended": extended}


def apart(expected: dict[str, Matrix], modalities: list[str]) -> float:
    """Return how far means and variances are apart, of the rows that hold something."""
    entries = {m: expected[m][expected[m].any(axis=1)].flatten() for m in modalities}
    total = 0.0
    for n, a in enumerate(modalities):
        for b in modalities[:n]:
            total += abs(entries[a].mean() - entries[b].mean())
            total += abs(entries[a].var(ddof=1) - entries[b].var(ddof=1))
    return total


def noisy(x: Matrix, draws: torch.Tensor) -> Matrix:
    return np.asarray(x + np.sign(x) * unit(numbers(draws)) * WEIGHTS["noise_scale"])


def drawn(users: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {
        f"noise/{view}/{name}": torch.rand(users, 4, generator=generator)
        for view in VIEWS
        for name in "ab"
    }


def expected_terms(
    model: GUME, data: HeteroData, users: Matrix, recorded: dict[str, torch.Tensor]
) -> dict[str, float]:
    expected, config = reference(model, data), model.config
    user, item = np.split(expected["fused"], [USERS])
    positive = BATCH.pos_item.numpy() + USERS
    rows = {"fused": expected["side"][users], "extended": expected["extended"][users]}
    user_contrast = info_nce(rows["extended"], rows["fused"], config.user_temperature)
    for name, x in rows.items():
        a, b = (noisy(x, recorded[f"noise/{name}/{view}"]) for view in "ab")
        user_contrast += info_nce(a, b, config.user_temperature)
    contrast = side_contrast(expected, users, config.temperature)
    squares = sum(float(x @ x) for x in expected["extended"][positive])
    return {
        "bpr": bpr(user, item, BATCH),
        "align": 0.6 * apart(expected, list(model.sizes.channels)),
        "contrast": 0.3 * contrast,
        "user_contrast": 0.5 * user_contrast,
        "reg": 0.7 * half_squares(user, item, BATCH),
        "extended_reg": 0.9 * squares / (2 * len(positive)),
    }


@pytest.mark.parametrize("changes", [{}, {"num_item_layers": 0, "num_layers": 1}, {"k": 4}])
@pytest.mark.parametrize("modalities", [BOTH, ("textual",), (*BOTH, "acoustic")])
def test_equals_loops(modalities: tuple[str, ...], changes: dict[str, Any]) -> None:
    data = gappy_data(*modalities)
    model = GUME.from_data(data, GUMEConfig(**{**SETTINGS, **changes}))
    expected, reps = reference(model, data), model.encode(data)
    assert set(reps.views) == {"fused", "id", *modalities}
    for view in reps.views:
        actual = reps.nodes(view).detach().numpy()
        np.testing.assert_allclose(actual, expected[view], rtol=1e-5, atol=1e-6, err_msg=view)


@pytest.mark.parametrize("modalities", [BOTH, ("textual",), (*BOTH, "acoustic")])
def test_terms_equal_loops(modalities: tuple[str, ...]) -> None:
    data, recorded = gappy_data(*modalities), drawn(len(BATCH.user))
    model = GUME.from_data(data, GUMEConfig(**SETTINGS, **WEIGHTS))
    found = model.loss(data, *BATCH, draws=Draws(recorded))
    terms = {name: term.item() for name, term in found.items()}
    expected = expected_terms(model, data, BATCH.user.numpy(), recorded)
    assert terms == pytest.approx(expected, rel=1e-5)


def test_users_of_a_user_batch_are_contrasted_once() -> None:
    data, users = gappy_data(*BOTH), np.array([0, 2, 5, 6])
    recorded = drawn(len(users))
    model = GUME.from_data(data, GUMEConfig(**SETTINGS, **WEIGHTS))
    found = model.terms(model.prepare(data), UserBatch(*BATCH), Draws(recorded))
    expected = expected_terms(model, data, users, recorded)
    for name in ("contrast", "user_contrast"):
        assert found[name].item() == pytest.approx(expected[name], rel=1e-5)


def test_items_are_joined_where_all_their_modalities_agree() -> None:
    data = gappy_data(*BOTH)
    model = GUME.from_data(data, GUMEConfig(**SETTINGS))
    graph = model.prepare(data).graphs["interaction"]
    edges = zip(graph.target.tolist(), graph.col.tolist(), strict=True)
    found = {(i - USERS, j - USERS) for i, j in edges if min(i, j) >= USERS}
    assert found == common_neighbours(data, [*BOTH], 5)
    # Item 4 lacks both; of item 3, which lacks text, pictures alone decide.
    assert not any(4 in edge for edge in found)
    assert sum(i == 3 for i, _ in found) == 4
    assert any((j, i) not in found for i, j in found)


def test_users_hear_items_over_all_degrees() -> None:
    data = gappy_data(*BOTH)
    graphs = GUME.from_data(data, GUMEConfig(**SETTINGS)).prepare(data).graphs
    joint = graphs["interaction"].to_dense()
    torch.testing.assert_close(graphs["user"].to_dense(), joint[:USERS, USERS:])
    assert torch.equal(joint[:USERS, :USERS], torch.zeros(USERS, USERS))


def test_what_is_lacking_has_no_part() -> None:
    data = gappy_data(*BOTH)
    model = GUME.from_data(data, GUMEConfig(**SETTINGS, align_weight=1.0))
    other = data.clone()
    other["item"].x_textual = data["item"].x_textual.clone()
    other["item"].x_textual[~data["item"].has_textual] = 50.0
    recorded = drawn(len(BATCH.user))
    terms = [model.loss(d, *BATCH, draws=Draws(recorded)) for d in (data, other)]
    assert all(torch.equal(terms[0][name], terms[1][name]) for name in terms[0])
    reps = model.encode(data)
    side = reps.nodes("fused") - reps.nodes("id")
    assert (side[[7, USERS + 4]] == 0).all()
    for node, view in ((6, "visual"), (USERS + 3, "visual"), (USERS + 5, "textual")):
        torch.testing.assert_close(side[node], reps.nodes(view)[node] / 3)


def test_gradients_are_slopes() -> None:
    data = gappy_data(*BOTH)
    model = GUME.from_data(data, GUMEConfig(**SETTINGS, **WEIGHTS)).double()
    inputs = doubled(model.prepare(data))
    draws = Draws({name: x.double() for name, x in drawn(len(BATCH.user)).items()})
    assert_slopes(model, lambda: model.terms(inputs, BATCH, draws))


def test_gradients_are_finite_where_views_are_empty() -> None:
    data = gappy_data(*BOTH)
    model = GUME.from_data(data, GUMEConfig(**SETTINGS))
    sum(model.loss(data, *BATCH).values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_noise_is_fresh_in_every_view() -> None:
    data = gappy_data(*BOTH)
    config = GUMEConfig(**SETTINGS, **{**WEIGHTS, "noise_scale": 3.0})
    model = GUME.from_data(data, config)
    inputs, found = model.prepare(data), []
    for _ in range(2):
        torch.manual_seed(2)
        found += [model.loss(inputs, *BATCH)["user_contrast"] for _ in range(2)]
    assert found[0] == found[2]
    assert found[0] != found[1]
    recorded = drawn(len(BATCH.user))
    same = {**recorded, **{f"noise/{view}/b": recorded[f"noise/{view}/a"] for view in VIEWS}}
    assert model.loss(inputs, *BATCH, Draws(same))["user_contrast"] < found[0]


def test_a_term_without_weight_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = gappy_data(*BOTH)
    off = {name: 0 for name in WEIGHTS if name.endswith("_weight")}
    model = GUME.from_data(data, GUMEConfig(ranking_loss="softmax", k=3, **off))
    for name in ("alignment_loss", "extended", "user_contrast_loss"):
        monkeypatch.delattr(GUME, name)
    terms = model.loss(data, *BATCH)
    names = ["softmax", "align", "contrast", "user_contrast", "reg", "extended_reg"]
    assert list(terms) == names
    assert all(terms[name] == 0 for name in names[1:])
    before = model.extended_user.clone()
    Step(model.objectives(), lr=0.1)(model.prepare(data), BATCH)
    assert torch.equal(model.extended_user, before)


def test_extended_users_start_as_the_mean_of_a_table_for_each_modality() -> None:
    bound = math.sqrt(6 / (USERS + 64))
    for modalities in (("textual",), BOTH, (*BOTH, "acoustic")):
        table = GUME.from_data(gappy_data(*modalities)).extended_user
        variance = bound**2 / 3 / len(modalities)
        assert table.var().item() == pytest.approx(variance, rel=0.25)


def test_defaults() -> None:
    config = GUMEConfig()
    assert (config.embedding_dim, config.num_layers, config.num_item_layers) == (64, 3, 2)
    assert (config.k, config.align_weight, config.noise_scale) == (10, 0.1, 0.1)
    assert (config.contrast_weight, config.temperature) == (0.01, 0.4)
    assert (config.user_contrast_weight, config.user_temperature) == (0.01, 0.1)
    assert (config.reg_weight, config.extended_reg_weight) == (1e-5, 0.1)


def test_refuses_data_without_features() -> None:
    with pytest.raises(ValueError, match=r"GUME needs at least one modality; add features"):
        GUME.from_data(gappy_data())
