from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import SEMANTIC, Representations, num_items, num_users
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.losses import info_nce
from mentor_pyg.models import MENTOR, Draws, MENTORConfig
from mentor_pyg.models.mentor import model as mentor_module
from mentor_pyg.nn import AlignmentLevel, FeatureMasking
from mentor_pyg.sampling import Batch, BPRBatches

DATA = {
    "one": {"modalities": ("textual",)},
    "two": {},
    "three": {"modalities": ("visual", "textual", "acoustic")},
    "missing": {"modalities": ("visual", "textual", "acoustic"), "missing": 0.3},
    "one_missing": {"modalities": ("visual",), "missing": 0.3},
}
SWITCHES = [
    {"num_layers": 0},
    {"num_layers": 1},
    {"num_layers": 3},
    {"num_item_layers": 0},
    {"num_item_layers": 2},
    {"item_graph": False},
    {"num_layers": 0, "item_graph": False},
    {"id_guidance": False},
    {"embedding_dim": 5},
    *({"align_levels": (level.value,)} for level in AlignmentLevel),
    {"align_levels": ()},
    {"align_weight": 0.0},
    {"mask_weight": 0.0},
    {"perturb_weight": 0.0},
    {"align_weight": 0.0, "mask_weight": 0.0, "perturb_weight": 0.0, "reg_weight": 0.0},
    {"temperature": 0.6, "noise_scale": 0.3},
    {"statistics": "dimension"},
    {"id_encoder": "table"},
    {"id_in_score": True},
    {"id_in_score": True, "id_encoder": "table", "statistics": "dimension"},
    {"ranking_loss": "softmax"},
    {"ranking_loss": "softmax", "id_in_score": True, "ranking_temperature": 0.1},
]


@pytest.fixture(scope="module")
def datasets() -> dict[str, HeteroData]:
    return {name: SyntheticMultimodal("tiny", **made)[0] for name, made in DATA.items()}


@pytest.fixture
def data(datasets: dict[str, HeteroData]) -> HeteroData:
    return datasets["two"]


def first_batch(data: HeteroData) -> Batch:
    return next(iter(BPRBatches(data, 100, seed=2)))


def draws_for(model: MENTOR) -> Draws:
    generator = torch.Generator().manual_seed(9)
    users, items, dim = model.num_users, model.num_items, model.config.embedding_dim
    noise = {
        f"noise/{view}/{m}/{layer}": torch.rand(users + items, dim, generator=generator)
        for view in ("view_a", "view_b")
        for m in model.modalities
        for layer in range(1, model.config.num_layers + 1)
    }
    width = dim * (len(model.modalities) + model.config.id_in_score)
    keep = {
        f"keep/{node}": torch.rand(rows, width, generator=generator) > 0.5
        for node, rows in (("user", users), ("item", items))
    }
    return Draws({**noise, **keep})


def losses_of_training(model: MENTOR, data: HeteroData, steps: int = 30) -> list[float]:
    batch = first_batch(data)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.stack(list(model.loss(data, *batch).values())).sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def spy_on_contrast(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    contrasted = []

    def spy(view_a: Tensor, view_b: Tensor, *settings: Any) -> Tensor:
        contrasted.append((view_a, view_b))
        return info_nce(view_a, view_b, *settings)

    monkeypatch.setattr(mentor_module, "info_nce", spy)
    return contrasted


def assert_equals_dense(
    reps: Representations, expected: tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
) -> None:
    for actual, views in zip((reps.user, reps.item), expected, strict=True):
        assert set(actual) == set(views)
        for view, nodes in views.items():
            np.testing.assert_allclose(actual[view].detach(), nodes, rtol=0, atol=2e-6)


def assert_model_equals_dense(
    model: MENTOR, data: HeteroData, dense_mentor: Callable[..., Any]
) -> None:
    assert_equals_dense(model.represent(model.prepare(data)), dense_mentor(model, data).views())
    draws, batch = draws_for(model), first_batch(data)
    reference = dense_mentor(model, data, draws.recorded)
    terms = model.loss(data, *batch, draws=draws)
    actual = {term: value.item() for term, value in terms.items()}
    expected = reference.loss(*(ids.numpy() for ids in batch))
    assert actual == pytest.approx(expected, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("name", DATA)
def test_equals_dense_reference(
    name: str, datasets: dict[str, HeteroData], dense_mentor: Callable[..., Any]
) -> None:
    data = datasets[name]
    assert_model_equals_dense(MENTOR.from_data(data), data, dense_mentor)


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_switch_equals_dense_reference(
    switch: dict[str, Any], data: HeteroData, dense_mentor: Callable[..., Any]
) -> None:
    model = MENTOR.from_data(data, MENTORConfig(**switch))
    assert_model_equals_dense(model, data, dense_mentor)


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_switch_trains(switch: dict[str, Any], data: HeteroData) -> None:
    losses = losses_of_training(MENTOR.from_data(data, MENTORConfig(**switch)), data)
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("semantics", ["paper", "released"])
@pytest.mark.parametrize("name", DATA)
def test_trains(name: str, semantics: str, datasets: dict[str, HeteroData]) -> None:
    data = datasets[name]
    model = MENTOR.from_data(data, MENTORConfig(semantics=semantics))
    losses = losses_of_training(model, data)
    # Without the feature masking that "released" semantics hold constant.
    constant = 0.0
    if semantics == "released":
        constant = model.loss(data, *first_batch(data))["mask"].item()
    assert losses[-1] - constant < 0.95 * (losses[0] - constant)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert all(x.isfinite().all() for x in model.encode(data).item.values())


@pytest.mark.parametrize("id_guidance", [True, False])
@pytest.mark.parametrize("name", DATA)
def test_views_and_widths(name: str, id_guidance: bool, datasets: dict[str, HeteroData]) -> None:
    data, dim = datasets[name], 6
    config = MENTORConfig(embedding_dim=dim, id_guidance=id_guidance)
    reps = MENTOR.from_data(data, config).encode(data)
    names = DATA[name].get("modalities", ("visual", "textual"))
    widths = dict.fromkeys(names, dim) | {"fused": len(names) * dim}
    if id_guidance:
        widths["id"] = dim
    for rows, side in ((num_users(data), reps.user), (num_items(data), reps.item)):
        assert {view: tuple(x.shape) for view, x in side.items()} == {
            view: (rows, width) for view, width in widths.items()
        }


def test_the_id_view_in_the_score_counts_as_it_is(data: HeteroData) -> None:
    config = MENTORConfig(embedding_dim=6, id_in_score=True)
    model = MENTOR.from_data(data, config)
    reps = model.encode(data)
    assert torch.equal(reps.user["fused"][:, -6:], reps.user["id"])
    assert torch.equal(reps.item["fused"][:, -6:], reps.item["id"])
    without = MENTOR.from_data(data, config.replace(id_in_score=False))
    shared = without.state_dict().keys() - {"masking.predictor.weight", "masking.predictor.bias"}
    without.load_state_dict({name: model.state_dict()[name] for name in shared}, strict=False)
    assert torch.equal(without.encode(data).item["fused"], reps.item["fused"][:, :-6])


def test_modalities_are_in_canonical_order(datasets: dict[str, HeteroData]) -> None:
    assert MENTOR.from_data(datasets["three"]).modalities == ("visual", "textual", "acoustic")


def test_without_id_guidance_there_is_no_item_table(data: HeteroData) -> None:
    model = MENTOR.from_data(data, MENTORConfig(id_guidance=False))
    assert not any("id" in name.split(".") for name, _ in model.named_modules())
    assert "item_embedding" not in dict(model.named_parameters())


@pytest.mark.parametrize("switch", [{"item_graph": False}, {"num_item_layers": 0}], ids=str)
def test_item_graph_changes_items_only(switch: dict[str, Any], data: HeteroData) -> None:
    model = MENTOR.from_data(data)
    without = MENTOR.from_data(data, MENTORConfig(**switch))
    without.load_state_dict(model.state_dict())
    first, second = model.encode(data), without.encode(data)
    for view in first.views:
        assert torch.equal(first.user[view], second.user[view])
        assert not torch.allclose(first.item[view], second.item[view], atol=1e-3)


def test_number_of_neighbours_changes_items_only(data: HeteroData) -> None:
    model = MENTOR.from_data(data)
    wider = MENTOR.from_data(data, MENTORConfig(k=15))
    wider.load_state_dict(model.state_dict())
    first, second = model.encode(data), wider.encode(data)
    for view in first.views:
        assert torch.equal(first.user[view], second.user[view])
        assert not torch.allclose(first.item[view], second.item[view], atol=1e-3)


def test_item_graphs_are_made_with_the_models_settings_and_left_out_of_the_data(
    data: HeteroData,
) -> None:
    weights = {"visual": 0.7, "textual": 0.3}
    model = MENTOR.from_data(data, MENTORConfig(k=3, modality_weights=weights))
    ready = model.transform(model.config)(data)
    assert ready["item", "visual_knn", "item"].edge_index.size(1) == 3 * num_items(data)
    assert ready["item", "textual_knn", "item"].merge_weight == 0.3
    assert SEMANTIC in ready.edge_types
    assert SEMANTIC not in data.edge_types
    assert torch.equal(model.encode(ready).item["fused"], model.encode(data).item["fused"])
    # What another model put there does not stay.
    other = MENTOR.from_data(data, MENTORConfig(k=4))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.encode(ready).item["fused"], other.encode(data).item["fused"])
    assert not torch.equal(other.encode(ready).item["fused"], model.encode(ready).item["fused"])


def test_without_the_item_graph_none_is_made(
    data: HeteroData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("searched for nothing")

    monkeypatch.setattr("mentor_pyg.transforms.item_knn_graph.knn_graph", fail)
    model = MENTOR.from_data(data, MENTORConfig(item_graph=False))
    assert model.prepare(data).graphs.keys() == {"interaction"}
    assert model.encode(data).item["fused"].isfinite().all()


def test_the_contrast_reaches_the_encoders(data: HeteroData) -> None:
    model = MENTOR.from_data(data, MENTORConfig(perturb_weight=1.0))
    model.loss(data, *first_batch(data))["perturb"].backward()
    for modality in model.modalities:
        for name, parameter in model.encoders[modality].named_parameters():
            assert parameter.grad.count_nonzero() > 0, (modality, name)


@pytest.mark.parametrize("mask_ratio", [0.0, 0.9])
def test_the_mask_ratio_is_the_configs(mask_ratio: float, data: HeteroData) -> None:
    model = MENTOR.from_data(data, MENTORConfig(mask_ratio=mask_ratio))
    assert model.masking.mask_ratio == mask_ratio
    kept = []
    model.masking.register_forward_pre_hook(lambda _, args: kept.append(args[1].float().mean()))
    model.loss(data, *first_batch(data))
    for share in kept:
        assert share.item() == pytest.approx(1 - mask_ratio, abs=0.02)


def test_weight_of_zero_saves_the_work(data: HeteroData, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> Tensor:
        raise AssertionError("computed for nothing")

    model = MENTOR.from_data(data, MENTORConfig(align_weight=0, mask_weight=0, perturb_weight=0))
    monkeypatch.setattr(FeatureMasking, "forward", fail)
    monkeypatch.setattr(type(model.alignment), "forward", fail)
    monkeypatch.setattr(MENTOR, "perturbed", fail)
    monkeypatch.setattr(mentor_module, "info_nce", fail)
    terms = model.loss(data, *first_batch(data))
    assert set(terms) == {"bpr", "reg", "align", "mask", "perturb"}
    assert all(terms[term].item() == 0 for term in ("align", "mask", "perturb"))


@pytest.mark.parametrize("term", ["align", "mask", "perturb", "reg"])
def test_terms_are_weighted(term: str, data: HeteroData) -> None:
    model = MENTOR.from_data(data)
    weight = f"{term}_weight"
    doubled = model.config.to_dict() | {weight: 2 * getattr(model.config, weight)}
    other = MENTOR.from_data(data, MENTORConfig.from_dict(doubled))
    other.load_state_dict(model.state_dict())
    draws, batch = draws_for(model), first_batch(data)
    first, second = (m.loss(data, *batch, draws=draws) for m in (model, other))
    for name in first:
        factor = 2 if name == term else 1
        assert second[name].item() == pytest.approx(factor * first[name].item(), rel=1e-6)


def test_draws_replace_the_generator(data: HeteroData) -> None:
    model = MENTOR.from_data(data)
    draws, batch = draws_for(model), first_batch(data)
    before = torch.get_rng_state()
    first = model.loss(data, *batch, draws=draws)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(77)
    second = model.loss(data, *batch, draws=draws)
    assert all(torch.equal(first[term], second[term]) for term in first)
    fresh = model.loss(data, *batch)
    assert {term for term in first if not torch.equal(first[term], fresh[term])} == {
        "mask",
        "perturb",
    }


def test_without_noise_the_views_are_the_fused_one(
    data: HeteroData, monkeypatch: pytest.MonkeyPatch
) -> None:
    contrasted = spy_on_contrast(monkeypatch)
    model = MENTOR.from_data(data, MENTORConfig(noise_scale=0))
    model.loss(data, *first_batch(data))
    reps = model.encode(data)
    for views, fused in zip(contrasted, (reps.user["fused"], reps.item["fused"]), strict=True):
        for view in views:
            torch.testing.assert_close(view, fused)


@pytest.mark.parametrize("semantics", ["paper", "released"])
def test_contrast_within_the_batch(
    semantics: str, data: HeteroData, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = MENTOR.from_data(data, MENTORConfig(semantics=semantics))
    config = MENTORConfig(semantics=semantics, contrast="batch")
    model = MENTOR.from_data(data, config)
    model.load_state_dict(full.state_dict())
    draws = draws_for(model)
    user, pos_item, neg_item = (torch.tensor(ids) for ids in ([3, 9, 3], [7, 7, 1], [0, 5, 2]))
    contrasted = spy_on_contrast(monkeypatch)
    full.loss(data, user, pos_item, neg_item, draws=draws)
    (user_a, user_b), (item_a, item_b) = contrasted
    assert len(user_a) == num_users(data)
    assert len(item_a) == num_items(data)
    expected = info_nce(user_a[[3, 9]], user_b[[3, 9]], config.temperature)
    expected = expected + info_nce(item_a[[1, 7]], item_b[[1, 7]], config.temperature)
    terms = model.loss(data, user, pos_item, neg_item, draws=draws)
    torch.testing.assert_close(terms["perturb"], config.perturb_weight * expected)


def test_contrasts_agree_where_the_batch_holds_all(data: HeteroData) -> None:
    full = MENTOR.from_data(data)
    model = MENTOR.from_data(data, MENTORConfig(contrast="batch"))
    model.load_state_dict(full.state_dict())
    draws, pos_item = draws_for(model), torch.arange(num_items(data)).flip(0)
    user = pos_item % num_users(data)
    first, second = (m.loss(data, user, pos_item, pos_item, draws=draws) for m in (full, model))
    torch.testing.assert_close(first, second)


def test_contrast_within_the_batch_trains(data: HeteroData) -> None:
    config = MENTORConfig(contrast="batch", perturb_weight=0.1)
    losses = losses_of_training(MENTOR.from_data(data, config), data)
    assert losses[-1] < 0.95 * losses[0]


def test_a_precision_that_the_machine_lacks_is_refused(data: HeteroData) -> None:
    model = MENTOR.from_data(data, MENTORConfig(precision="tf32x3"))
    with pytest.raises(RuntimeError, match="cannot run with precision 'tf32x3'"):
        model.loss(data, *first_batch(data))


@pytest.mark.parametrize("backend", ["naive", "edge_index", "torch_csr"])  # Others: tests/ops.
def test_backends_agree(backend: str, data: HeteroData) -> None:
    model = MENTOR.from_data(data)
    other = MENTOR.from_data(data, MENTORConfig(backend=backend))
    other.load_state_dict(model.state_dict())
    draws, batch = draws_for(model), first_batch(data)
    first, second = (m.loss(data, *batch, draws=draws) for m in (model, other))
    torch.testing.assert_close(first, second)


def test_refuses_backend(data: HeteroData) -> None:
    model = MENTOR.from_data(data, MENTORConfig(backend="fast"))
    with pytest.raises(ValueError, match="'backend' needs to be 'auto' or one of"):
        model.encode(data)


def test_refuses_data_without_modality() -> None:
    data = SyntheticMultimodal("tiny", modalities=())[0]
    with pytest.raises(ValueError, match="MENTOR needs at least one modality; add features"):
        MENTOR.from_data(data)


def test_refuses_data_of_other_features(datasets: dict[str, HeteroData]) -> None:
    model = MENTOR.from_data(datasets["two"])
    with pytest.raises(ValueError, match=r"features of the widths .* but the model was built for"):
        model.encode(datasets["three"])
    with pytest.raises(ValueError, match="features of the widths"):
        model.encode(datasets["one"])


@pytest.mark.parametrize("setting", [{}, {"contrast": "batch", "perturb_weight": 0.0}])
def test_mentor_without_a_contrast_of_the_batch_has_static_shapes(
    tiny_data: HeteroData, setting: dict[str, object]
) -> None:
    assert MENTOR.from_data(tiny_data, MENTORConfig.from_dict(setting)).has_static_shapes
