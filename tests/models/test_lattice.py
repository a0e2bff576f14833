import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import Inputs
from mentor_pyg.models import LATTICE, LATTICEConfig
from tests.models.dense import (
    BATCH,
    BOTH,
    EDGES,
    ITEMS,
    USERS,
    bpr,
    by_row_sums,
    gappy_data,
    half_squares,
    has,
    nearest,
    numbers,
)

SETTINGS: dict[str, Any] = {"embedding_dim": 4, "feature_dim": 3, "k": 4, "initial_weight": 0.6}
Parameters = Mapping[str, Tensor]


def doubles(model: LATTICE) -> dict[str, Tensor]:
    """Return leaves in float64 under the parameters' names."""
    return {n: p.detach().double().requires_grad_() for n, p in model.named_parameters()}


def transformed(p: Parameters, data: HeteroData, modality: str) -> Tensor:
    x = data["item"][f"x_{modality}"].double()
    return x @ p[f"transforms.{modality}.weight"].t() + p[f"transforms.{modality}.bias"]


def item_graph(
    model: LATTICE, p: Parameters, data: HeteroData, searched_with: Parameters
) -> Tensor:
    """Return the dense item graph, whose learned pairs are those of other parameters."""
    config, modalities = model.config, list(model.sizes.channels)
    present = {m: has(data, m) for m in modalities}
    initial = torch.zeros(ITEMS, ITEMS, dtype=torch.float64)
    learned = initial.clone()
    odds = dict(zip(modalities, p["modality_weight"].exp(), strict=True))

    def alpha(m: str, i: int) -> Tensor:
        return odds[m] / sum(odds[other] for other in modalities if present[other][i])

    for m in modalities:
        raw = nearest(numbers(data["item"][f"x_{m}"]), present[m], config.k)
        for (i, j), weight in by_row_sums(raw).items():
            initial[i, j] += alpha(m, i) * weight
        x = transformed(p, data, m)
        for i, j in nearest(numbers(transformed(searched_with, data, m)), present[m], config.k):
            learned[i, j] += alpha(m, i) * (x[i] @ x[j]) / (x[i].norm() * x[j].norm())
    sums = [learned[i].sum() for i in range(ITEMS)]
    normalised = torch.zeros_like(learned)
    for i in range(ITEMS):
        for j in range(ITEMS):
            if learned[i, j] != 0:
                normalised[i, j] = learned[i, j] / (sums[i] * sums[j]).sqrt()
    return config.initial_weight * initial + (1 - config.initial_weight) * normalised


def reference(
    model: LATTICE, p: Parameters, data: HeteroData, searched_with: Parameters | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return users, items, and items without the item graph."""
    neighbours: dict[int, list[int]] = {n: [n] for n in range(USERS + ITEMS)}
    for u, i in EDGES:
        neighbours[u].append(USERS + i)
        neighbours[USERS + i].append(u)
    h = torch.cat([p["user_embedding"], p["item_embedding"]])
    layers = [h]
    for _ in range(model.config.num_layers):
        h = torch.stack([h[neighbours[n]].mean(dim=0) for n in range(USERS + ITEMS)])
        layers.append(h)
    user, item = (sum(layers) / len(layers)).split([USERS, ITEMS])
    graph = item_graph(model, p, data, searched_with or p)
    added = p["item_embedding"]
    for _ in range(model.config.num_item_layers):
        added = graph @ added
    length = added.norm(dim=1, keepdim=True)
    return user, item + added / torch.where(length > 0, length, 1.0), item


def resampled(model: LATTICE, data: HeteroData) -> Inputs:
    return model.resample(model.prepare(data), 0, torch.Generator())


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected.float(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("num_item_layers", [0, 1, 2])
@pytest.mark.parametrize("modalities", [BOTH, ("textual",), (*BOTH, "acoustic")])
def test_equals_loops(modalities: tuple[str, ...], num_item_layers: int) -> None:
    data = gappy_data(*modalities)
    model = LATTICE.from_data(data, LATTICEConfig(**SETTINGS, num_item_layers=num_item_layers))
    with torch.no_grad():
        model.modality_weight.copy_(torch.linspace(-1, 1, len(modalities)))
    user, item, without = reference(model, doubles(model), data)
    for inputs in (data, resampled(model, data)):
        reps = model.encode(inputs)
        assert_equal(reps.user["fused"], user)
        assert_equal(reps.item["fused"], item)
        assert_equal(reps.item["id"], without)


def moved(model: LATTICE) -> None:
    with torch.no_grad():
        for transform in model.transforms.values():
            transform.weight.add_(torch.randn_like(transform.weight))


def test_pairs_stay_for_an_epoch_and_weights_do_not() -> None:
    data = gappy_data(*BOTH)
    model = LATTICE.from_data(data, LATTICEConfig(**SETTINGS))
    before, inputs = doubles(model), resampled(model, data)
    moved(model)
    _, kept, _ = reference(model, doubles(model), data, before)
    _, fresh, _ = reference(model, doubles(model), data)
    assert (kept - fresh).abs().max() > 0.01
    assert_equal(model.encode(inputs).item["fused"], kept)
    assert_equal(model.encode(data).item["fused"], fresh)
    again = model.resample(model.prepare(data), 1, torch.Generator())
    assert_equal(model.encode(again).item["fused"], fresh)


@pytest.mark.parametrize("modalities", [BOTH, ("textual",)])
def test_terms_and_gradients_equal_loops(modalities: tuple[str, ...]) -> None:
    data = gappy_data(*modalities)
    config = LATTICEConfig(**SETTINGS, reg_weight=0.7, num_item_layers=2)
    model = LATTICE.from_data(data, config)
    before, inputs = doubles(model), resampled(model, data)
    moved(model)  # Of the kept pairs, some are not the nearest any more.
    p = doubles(model)
    user, item, _ = reference(model, p, data, before)
    terms = model.loss(inputs, *BATCH)
    expected = {
        "bpr": bpr(numbers(user), numbers(item), BATCH),
        "reg": 0.7 * half_squares(numbers(user), numbers(item), BATCH),
    }
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)
    reps = model.represent(inputs)
    weight_user, weight_item = torch.randn(USERS, 4), torch.randn(ITEMS, 4)
    ((reps.user["fused"] * weight_user).sum() + (reps.item["fused"] * weight_item).sum()).backward()
    ((user * weight_user).sum() + (item * weight_item).sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        expected_grad = p[name].grad
        assert expected_grad is not None
        torch.testing.assert_close(
            parameter.grad, expected_grad.float(), rtol=1e-4, atol=2e-5, msg=name
        )


def test_an_item_without_features_is_ranked_by_its_id() -> None:
    data = gappy_data(*BOTH)
    reps = LATTICE.from_data(data, LATTICEConfig(**SETTINGS)).encode(data)
    added = (reps.item["fused"] - reps.item["id"]).norm(dim=1)
    torch.testing.assert_close(added, torch.tensor([float(i != 4) for i in range(ITEMS)]))


def test_a_user_without_interactions_is_its_table() -> None:
    data = gappy_data(*BOTH)
    model = LATTICE.from_data(data, LATTICEConfig(**SETTINGS))
    torch.testing.assert_close(model.encode(data).user["fused"][7], model.user_embedding[7])


def test_neighbours_for_each_modality_and_no_more_than_there_are() -> None:
    data = gappy_data(*BOTH)
    model = LATTICE.from_data(data, LATTICEConfig(k={"visual": 2, "textual": 20}))
    graphs = resampled(model, data).graphs
    assert graphs["learned/visual"].num_edges == 2 * 9
    assert graphs["learned/textual"].num_edges == 9 * 9
    data["item"].has_visual = torch.zeros(ITEMS, dtype=torch.bool)
    assert resampled(model, data).graphs["learned/visual"].num_edges == 0
    assert model.encode(data).item["fused"].isfinite().all()


def test_resampling_draws_nothing_and_keeps_the_given_inputs() -> None:
    data = gappy_data(*BOTH)
    model = LATTICE.from_data(data, LATTICEConfig(**SETTINGS))
    inputs, generator = model.prepare(data), torch.Generator()
    state = generator.get_state()
    assert "learned/visual" in model.resample(inputs, 3, generator).graphs
    assert "learned/visual" not in inputs.graphs
    assert torch.equal(generator.get_state(), state)


def test_defaults() -> None:
    config = LATTICEConfig()
    assert (config.num_layers, config.num_item_layers, config.feature_dim) == (2, 1, 64)
    assert (config.k, config.initial_weight, config.reg_weight) == (10, 0.9, 1e-5)
    model = LATTICE.from_data(gappy_data(*BOTH), LATTICEConfig())
    assert model.modality_weight.softmax(dim=0).tolist() == [0.5, 0.5]


def test_refuses_data_without_features() -> None:
    with pytest.raises(ValueError, match=r"LATTICE needs at least one modality; add features"):
        LATTICE.from_data(gappy_data())


def test_refuses_weights_that_leave_nothing_to_learn() -> None:
    with pytest.raises(ValueError, match=r"'initial_weight' needs to be in \[0, 1\) \(got 1.0\)"):
        LATTICEConfig(initial_weight=1)
    assert math.isclose(LATTICEConfig(initial_weight=0).initial_weight, 0)
