"""What every model promises: ours, the example's with dropout, outsiders, and fitted ones."""

import copy
import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.data import HeteroData

from examples.your_own_model import Content
from mentor_pyg.data import (
    INTERACTS,
    REV_INTERACTS,
    Representations,
    num_items,
    num_users,
    validate_data,
)
from mentor_pyg.datasets import SyntheticMultimodal, SyntheticSize
from mentor_pyg.evaluation import hold_out_items
from mentor_pyg.export import EmbeddingTables, FoldIn
from mentor_pyg.export.tables import ranked_representations
from mentor_pyg.models import (
    BM3,
    BPRMF,
    COHESION,
    EASE,
    FREEDOM,
    GRCN,
    GUME,
    LATTICE,
    MENTOR,
    MGCN,
    MMGCN,
    MMHCL,
    MMSSL,
    MODELS,
    PGL,
    SMORE,
    VBPR,
    ContentKNN,
    Draws,
    DualGNN,
    FittedModel,
    ItemKNN,
    LayerGCN,
    LightGCN,
    MENTORPlus,
    Model,
    Popularity,
    Recommender,
    RP3Beta,
    SLMRec,
    UserKNN,
    extend,
    load_model,
    save_model,
)
from mentor_pyg.sampling import BATCHES, Batch, BPRBatches
from mentor_pyg.transforms import RemoveModalities
from tests.models.dense import set_interactions
from tests.models.outsiders import OUTSIDERS

CLASSES = {
    cls.name: cls
    for cls in (
        *(MENTOR, FREEDOM, LayerGCN, LightGCN, BM3, BPRMF, VBPR, MGCN, LATTICE, MMGCN, GRCN),
        *(SLMRec, DualGNN, MMSSL, GUME, COHESION, PGL, SMORE, MMHCL, MENTORPlus),
        *(Content, *OUTSIDERS),
    )
}
FITTED = {cls.name: cls for cls in (Popularity, ItemKNN, UserKNN, EASE, RP3Beta, ContentKNN)}
CHANGES = {
    **{name: {"embedding_dim": 8} for name in CLASSES},
    "popularity": {},
    "content_knn": {"k": 4, "modality_weights": {"visual": 0.5, "textual": 0.5}},
    "item_knn": {"k": 8, "shrink": 2.5, "normalize": True},
    "user_knn": {"k": 8, "shrink": 2.5, "normalize": True},
    "ease": {"l2": 7.5, "smooth": "textual", "smooth_weight": 0.3, "smooth_k": 4},
    "rp3beta": {"alpha": 0.7, "beta": 0.4, "k": 8, "smooth": "visual"},
}
"""Settings that are not the default, for every model."""


@pytest.fixture(scope="module")
def data() -> HeteroData:
    return SyntheticMultimodal("tiny")[0]


@pytest.fixture(scope="module")
def larger() -> HeteroData:
    size = SyntheticSize(num_users=61, num_items=80, num_train=390, num_val=61, num_test=61)
    return SyntheticMultimodal(size)[0]


@pytest.fixture(params=CLASSES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(name: str, data: HeteroData) -> Recommender:
    return CLASSES[name].from_data(data)


@pytest.fixture(params=[*CLASSES, *FITTED])
def every_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def every_model(every_name: str, data: HeteroData) -> Model:
    """A model of either kind that can rank."""
    return ready(every_name, data)


@pytest.fixture(params=FITTED)
def fitted(request: pytest.FixtureRequest, data: HeteroData) -> FittedModel:
    """A fitted model whose settings are not the default."""
    model = ready(request.param, data, **CHANGES[request.param])
    assert isinstance(model, FittedModel)
    return model


def ready(name: str, data: HeteroData, **settings: object) -> Model:
    """Build a model of either kind and fit it if it is of the one."""
    if name in CLASSES:
        return CLASSES[name].from_data(data, CLASSES[name].Config(**settings))
    return FITTED[name].from_data(data, FITTED[name].Config(**settings)).fit(data)


@pytest.fixture
def batch(data: HeteroData) -> Batch:
    return next(iter(BPRBatches(data, 128, seed=1)))


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


def train(model: Recommender, data: HeteroData, steps: int, lr: float = 0.01) -> list[float]:
    """Take steps of every objective on one batch and return the losses of the last."""
    batch, inputs = next(iter(BPRBatches(data, 256, seed=1))), model.prepare(data)
    objectives = model.objectives()
    optimizers = [o.optimizer(o.parameters, lr) for o in objectives]
    losses = []
    for _ in range(steps):
        for objective, optimizer in zip(objectives, optimizers, strict=True):
            optimizer.zero_grad()
            loss = total(objective.terms(inputs, batch, Draws()))
            loss.backward(inputs=list(objective.parameters))
            optimizer.step()
        losses.append(loss.item())
    return losses


def attributes_of(model: Recommender) -> list[dict[str, object]]:
    """Return what every module holds, copied deep enough to see registered tensors."""
    return [
        {k: dict(v) if isinstance(v, dict) else v for k, v in vars(module).items()}
        for module in model.modules()
    ]


def equal(a: Representations, b: Representations) -> bool:
    sides = ((a.user, b.user), (a.item, b.item))
    return all(x.keys() == y.keys() and all(torch.equal(x[v], y[v]) for v in x) for x, y in sides)


def scores_of(model: Model, data: HeteroData) -> Tensor:
    """Return the scores of all users and items, as they are ranked."""
    with torch.no_grad(), model.evaluating():
        return model.scorer(model.prepare(data)).scores(torch.arange(num_users(data)))


def assert_best(
    model: Model, data: HeteroData, user: Tensor, found: tuple[Tensor, Tensor], exclude_seen: bool
) -> None:
    """Compare with sorting each user's scores; of equal scores any may come first."""
    every_score = scores_of(model, data)
    train_user, train_item = data[INTERACTS].edge_index
    for u, items, scores in zip(user.tolist(), *(x.tolist() for x in found), strict=True):
        own = every_score[u].tolist()
        seen = set(train_item[train_user == u].tolist()) if exclude_seen else set()
        expected = sorted((s for i, s in enumerate(own) if i not in seen), reverse=True)
        shown = [item for item in items if item >= 0]
        assert len(set(shown)) == len(shown) == min(len(expected), len(items))
        assert seen.isdisjoint(shown)
        assert [own[i] for i in shown] == pytest.approx(expected[: len(shown)], rel=1e-4, abs=1e-6)
        assert scores[: len(shown)] == pytest.approx(expected[: len(shown)], rel=1e-4, abs=1e-6)
        assert all(item == -1 for item in items[len(shown) :])
        assert all(score == -torch.inf for score in scores[len(shown) :])


def test_all_of_ours_are_held() -> None:
    ours = {n for n, cls in MODELS.items() if cls.__module__.startswith("mentor_pyg")}
    assert ours <= {*CLASSES, *FITTED}


def test_config(every_name: str, data: HeteroData) -> None:
    model_class = MODELS[every_name]
    model = model_class.from_data(data)
    assert type(model.config) is model_class.Config
    assert model.config == model_class.Config()
    config = model_class.Config(**CHANGES[every_name])
    assert model_class.from_data(data, config).config is config
    with pytest.raises(TypeError, match=rf"'config' needs to be a {model_class.Config.__name__}"):
        model_class.from_data(data, CHANGES[every_name])


def test_config_travels_through_json(every_name: str) -> None:
    config_class = MODELS[every_name].Config
    config = config_class(**CHANGES[every_name])
    again = config_class.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config


def test_config_refuses_unknown_keys(every_name: str) -> None:
    config_class = MODELS[every_name].Config
    with pytest.raises(ValueError, match=r"has no settings \['depth'\]; it has") as raised:
        config_class.from_dict({**CHANGES[every_name], "depth": 3})
    for field in fields(config_class):
        assert repr(field.name) in str(raised.value)


def test_config_is_frozen_and_keyword_only(every_name: str) -> None:
    config_class = MODELS[every_name].Config
    with pytest.raises(FrozenInstanceError):
        config_class().k = 8
    with pytest.raises(TypeError):
        config_class(8)


def test_config_refuses_widths(name: str) -> None:
    with pytest.raises(ValueError, match=r"'embedding_dim' needs to be at least 1 \(got 0\)"):
        CLASSES[name].Config(embedding_dim=0)


def test_represent(model: Recommender, data: HeteroData) -> None:
    reps = model.encode(data)
    assert isinstance(reps, Representations)
    for side, count in ((reps.user, num_users(data)), (reps.item, num_items(data))):
        assert "fused" in side
        for nodes in side.values():
            assert nodes.size(0) == count
            assert nodes.isfinite().all()


def test_encode_is_deterministic_and_writes_nothing(model: Recommender, data: HeteroData) -> None:
    attributes = attributes_of(model)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    stores = {key: set(data[key].keys()) for key in (*data.node_types, *data.edge_types)}
    random_state = torch.get_rng_state()
    first = model.encode(data)
    model.eval()
    second = model.encode(data)
    assert not model.training
    model.train()
    assert equal(first, second)
    assert attributes_of(model) == attributes
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert {key: set(data[key].keys()) for key in (*data.node_types, *data.edge_types)} == stores
    assert torch.equal(torch.get_rng_state(), random_state)


def test_inputs_stand_for_the_data(model: Recommender, data: HeteroData, batch: Batch) -> None:
    inputs = model.prepare(data)
    assert equal(model.encode(inputs), model.encode(data))
    terms = []
    for given in (inputs, data):
        torch.manual_seed(4)
        terms.append(model.loss(given, *batch))
    assert all(torch.equal(terms[0][key], value) for key, value in terms[1].items())


def test_loss_writes_no_attributes(model: Recommender, data: HeteroData, batch: Batch) -> None:
    attributes = attributes_of(model)
    model.loss(data, *batch)
    assert attributes_of(model) == attributes


def test_terms_are_named_scalars(model: Recommender, data: HeteroData, batch: Batch) -> None:
    names: list[str] = []
    for objective in model.objectives():
        terms = objective.terms(model.prepare(data), batch, Draws())
        names += terms
        for term in terms.values():
            assert term.shape == ()
            assert term.isfinite()
    assert len(names) == len(set(names)) > 0


def test_every_parameter_gets_a_gradient(
    model: Recommender, data: HeteroData, batch: Batch
) -> None:
    inputs = model.prepare(data)
    for objective in model.objectives():
        terms = objective.terms(inputs, batch, Draws())
        total(terms).backward(inputs=list(objective.parameters))
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.count_nonzero() > 0, name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_trains_under_autocast(name: str, dtype: torch.dtype, batch: Batch) -> None:
    data = SyntheticMultimodal("tiny")[0].clone()
    for modality in ("visual", "textual"):
        data["item"][f"x_{modality}"][::9] = 0.0
        data["item"][f"has_{modality}"] = torch.arange(80) % 9 != 0
    model = CLASSES[name].from_data(data)
    inputs = model.prepare(data)
    for objective in model.objectives():
        with torch.autocast("cpu", dtype):
            terms = objective.terms(inputs, batch, Draws())
        total(terms).backward(inputs=list(objective.parameters))
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_loss_is_a_function_of_the_seed(model: Recommender, data: HeteroData, batch: Batch) -> None:
    torch.manual_seed(3)
    first = model.loss(data, *batch)
    torch.manual_seed(3)
    second = model.loss(data, *batch)
    assert {k: v.item() for k, v in first.items()} == {k: v.item() for k, v in second.items()}


def test_loss_falls(model: Recommender, data: HeteroData) -> None:
    losses = train(model, data, steps=30)
    assert losses[-1] < 0.95 * losses[0]


def test_same_seed_same_parameters(name: str, data: HeteroData) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(11)
        model = CLASSES[name].from_data(data)
        train(model, data, steps=3)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_state_dict_holds_all(name: str, model: Recommender, data: HeteroData) -> None:
    other = CLASSES[name].from_data(data)
    assert not equal(other.encode(data), model.encode(data))
    other.load_state_dict(model.state_dict())
    assert equal(other.encode(data), model.encode(data))
    assert equal(copy.deepcopy(model).encode(data), model.encode(data))


def test_is_saved_and_loaded_without_the_data(
    name: str, model: Recommender, data: HeteroData, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_model(model, path, data)
    for again in (load_model(path), load_model(path, data)):
        assert type(again) is CLASSES[name]
        assert not again.training
        assert again.config == model.config
        assert again.sizes == model.sizes
        assert equal(again.encode(data), model.encode(data))


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_recommend_equals_brute_force(
    every_model: Model, data: HeteroData, exclude_seen: bool
) -> None:
    # Out of order, and one user twice.
    user = torch.tensor([17, 0, 59, 17, 4])
    item, score = every_model.recommend(data, user, k=6, exclude_seen=exclude_seen)
    assert item.shape == score.shape == (5, 6)
    assert not score.requires_grad
    assert_best(every_model, data, user, (item, score), exclude_seen)


def test_recommend_takes_all_users(every_model: Model, data: HeteroData) -> None:
    item, _ = every_model.recommend(data, torch.arange(num_users(data)), k=20)
    train_user, train_item = data[INTERACTS].edge_index
    seen = set(zip(train_user.tolist(), train_item.tolist(), strict=True))
    recommended = {(u, i) for u, row in enumerate(item.tolist()) for i in row}
    assert recommended.isdisjoint(seen)
    assert len(recommended) == 20 * num_users(data)


def test_takes_the_edges_of_pyg(every_name: str, data: HeteroData) -> None:
    """An ``EdgeIndex`` has no values of its own: kernels that got one read from address zero."""
    wrapped = data.clone()
    for kind, sizes in ((INTERACTS, (60, 80)), (REV_INTERACTS, (80, 60))):
        wrapped[kind].edge_index = EdgeIndex(data[kind].edge_index, sparse_size=sizes)
    torch.manual_seed(0)
    model = ready(every_name, data)
    assert torch.equal(scores_of(model, wrapped), scores_of(model, data))
    if isinstance(model, FittedModel):
        torch.testing.assert_close(
            dict(ready(every_name, wrapped).state_dict()), dict(model.state_dict())
        )
        return
    for batches in BATCHES.values():
        torch.manual_seed(0)
        expected = total(model.loss(data, *next(iter(batches(data, 32)))))
        batch = next(iter(batches(wrapped, 32)))
        assert {type(ids) for ids in batch} == {Tensor}
        torch.manual_seed(0)
        assert torch.equal(total(model.loss(wrapped, *batch)), expected)


def test_called_as_a_module_it_is_its_loss(
    model: Recommender, data: HeteroData, batch: Batch
) -> None:
    found = []
    for call in (model, model.loss):
        torch.manual_seed(0)
        found.append(call(data, *batch))
    assert found[0].keys() == found[1].keys()
    assert torch.equal(total(found[0]), total(found[1]))


def test_recommend_does_not_need_sorted_edges(every_model: Model, data: HeteroData) -> None:
    shuffled = data.clone()
    edge_index = data[INTERACTS].edge_index
    shuffled[INTERACTS].edge_index = edge_index[:, torch.randperm(edge_index.size(1))]
    first, second = (scores_of(every_model, d) for d in (data, shuffled))
    assert torch.allclose(first, second, atol=1e-6)


def test_recommend_marks_missing_items(every_model: Model, data: HeteroData) -> None:
    user = torch.tensor([0, 1])
    item, score = every_model.recommend(data, user, k=num_items(data))
    assert (item[:, -1] == -1).all()
    assert_best(every_model, data, user, (item, score), exclude_seen=True)


def test_recommend_for_nobody(every_model: Model, data: HeteroData) -> None:
    item, score = every_model.recommend(data, torch.empty(0, dtype=torch.long), k=4)
    assert item.shape == score.shape == (0, 4)


@pytest.mark.parametrize("k", [0, -1, 81])
def test_recommend_refuses_k(model: Recommender, data: HeteroData, k: int) -> None:
    with pytest.raises(ValueError, match=rf"'k' needs to be a positive integer .* \(got {k}\)"):
        model.recommend(data, torch.tensor([0]), k=k)


@pytest.mark.parametrize("user", [[-1], [60], [3, 60], [-1, 3]])
def test_recommend_refuses_users(model: Recommender, data: HeteroData, user: list[int]) -> None:
    with pytest.raises(ValueError, match="'user' needs ids from 0 to 59"):
        model.recommend(data, torch.tensor(user))


def test_recommends_in_training_mode_what_it_does_in_evaluation_mode(
    every_model: Model, data: HeteroData
) -> None:
    user = torch.arange(num_users(data))
    first = every_model.train().recommend(data, user, k=10)
    assert every_model.training
    second = every_model.eval().recommend(data, user, k=10)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_refuses_data_of_another_size(every_model: Model, larger: HeteroData, batch: Batch) -> None:
    message = (
        "'data' has 61 users and 80 items, but the model was built for 60 and 80; "
        rf"build one with {type(every_model).__name__}.from_data"
    )
    with pytest.raises(ValueError, match=message):
        every_model.recommend(larger, torch.tensor([0]))
    if isinstance(every_model, FittedModel):
        with pytest.raises(ValueError, match=message):
            every_model.fit(larger)
    if isinstance(every_model, Recommender):
        with pytest.raises(ValueError, match=message):
            every_model.encode(larger)
        with pytest.raises(ValueError, match=message):
            every_model.loss(larger, *batch)


@pytest.mark.parametrize("shapes", [(1, 1, 3), (3, 3, 1), (2, 3, 3), ((3, 1), 3, 3)])
def test_loss_refuses_ids_that_would_broadcast(shapes: tuple[Any, ...], data: HeteroData) -> None:
    ids = [torch.zeros(shape, dtype=torch.long) for shape in shapes]
    with pytest.raises(ValueError, match=r"need one id each per interaction, \[batch\] \(got"):
        LightGCN.from_data(data).loss(data, *ids)


BY_HAND = {
    "repeated": (
        lambda data: setattr(data[INTERACTS], "edge_index", data[INTERACTS].edge_index[:, [0, 0]]),
        "edge_index holds 1 interactions more than once",
    ),
    "not there": (lambda data: data[INTERACTS].pop("edge_index"), "edge_index is missing"),
    "NaN": (lambda data: data["item"].x_visual.fill_(torch.nan), "x_visual needs finite values"),
    "double": (
        lambda data: setattr(data["item"], "x_visual", data["item"].x_visual.double()),
        "x_visual needs to be a float32 tensor",
    ),
    "rows": (
        lambda data: setattr(data["item"], "x_visual", data["item"].x_visual[1:]),
        r"x_visual needs the shape \[80, channels\]",
    ),
}


@pytest.mark.parametrize(("damage", "message"), BY_HAND.values(), ids=BY_HAND)
def test_refuses_data_made_by_hand_that_are_wrong(
    damage: Callable[[HeteroData], object], message: str, data: HeteroData, batch: Batch
) -> None:
    data = data.clone()
    model, fitted = VBPR.from_data(data), EASE.from_data(data)
    damage(data)
    calls = (
        lambda: model.encode(data),
        lambda: model.loss(data, *batch),
        lambda: model.recommend(data, 0),
        lambda: fitted.fit(data),
    )
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()


def test_can_be_given_data_that_lack_a_modality(data: HeteroData) -> None:
    lacking = RemoveModalities("visual", keep_width=True)(data)
    assert VBPR.from_data(data).encode(lacking).item["fused"].isfinite().all()
    with pytest.raises(ValueError, match="has_visual is False for every item"):
        validate_data(lacking)


@pytest.mark.parametrize("node_type", ["user", "item"])
def test_refuses_data_that_do_not_say_their_size(node_type: str, tiny_data: HeteroData) -> None:
    del tiny_data[node_type].num_nodes
    with pytest.raises(ValueError, match=rf"data\['{node_type}'\].num_nodes needs to be"):
        LightGCN.from_data(tiny_data)


def test_fitting_reads_train_interactions_alone(fitted: FittedModel, data: HeteroData) -> None:
    random_state = torch.get_rng_state()
    stores = {key: set(data[key].keys()) for key in (*data.node_types, *data.edge_types)}
    state = {name: tensor.clone() for name, tensor in fitted.state_dict().items()}
    other = data.clone()
    for split in ("val", "test"):
        del other[INTERACTS][f"{split}_edge_label_index"]
    again = type(fitted).from_data(other, fitted.config)
    # The dataset, or what is prepared of it; and a second time over the first.
    for given in (other, again.prepare(other)):
        assert again.fit(given) is again
        assert state.keys() == again.state_dict().keys()
        assert all(torch.equal(again.state_dict()[name], state[name]) for name in state)
    assert {key: set(data[key].keys()) for key in (*data.node_types, *data.edge_types)} == stores
    assert torch.equal(torch.get_rng_state(), random_state)


def test_fitted_state_is_of_the_shapes_declared(fitted: FittedModel, data: HeteroData) -> None:
    shapes = fitted.state_shapes()
    assert shapes.keys() == fitted.state_dict().keys()
    for name, tensor in fitted.state_dict().items():
        assert len(shapes[name]) == tensor.dim()
        assert all(n in (None, size) for n, size in zip(shapes[name], tensor.shape, strict=True))
    assert not type(fitted).from_data(data).state_dict()


def test_fitted_is_saved_and_loaded_without_the_data(
    fitted: FittedModel, data: HeteroData, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_model(fitted, path, data)
    for again in (load_model(path), load_model(path, data), copy.deepcopy(fitted)):
        assert type(again) is type(fitted)
        assert again.config == fitted.config
        assert again.sizes == fitted.sizes
        assert torch.equal(scores_of(again, data), scores_of(fitted, data))


def test_unfitted_models_say_so(fitted: FittedModel, data: HeteroData, tmp_path: Path) -> None:
    model = type(fitted).from_data(data)
    with pytest.raises(RuntimeError, match=rf"the model {model.name} is not fitted yet; call fit"):
        model.recommend(data, 0)
    with pytest.raises(ValueError, match=r"'model' needs to be fitted to be saved; call model.fit"):
        save_model(model, tmp_path / "model.safetensors")


def test_fitted_takes_users_and_items_without_interactions(
    fitted: FittedModel, data: HeteroData
) -> None:
    cold = data.clone()
    user, item = data[INTERACTS].edge_index
    kept = (user != 7) & (item != 11)
    set_interactions(cold, data[INTERACTS].edge_index[:, kept])
    model = type(fitted).from_data(cold, fitted.config).fit(cold)
    scores = scores_of(model, cold)
    assert scores.isfinite().all()
    if not isinstance(fitted, Popularity):
        assert (scores[7] == 0).all()
        assert scores.count_nonzero() > 0
    if getattr(fitted.config, "smooth", None) is None and not isinstance(fitted, ContentKNN):
        assert (scores[:, 11] == 0).all()


def test_fitted_models_read_no_features(fitted: FittedModel, data: HeteroData) -> None:
    if isinstance(fitted, ContentKNN):
        pytest.skip("it ranks by features")
    bare = data.clone()
    del bare["item"].x_visual, bare["item"].x_textual
    model = type(fitted).from_data(data).fit(data)
    assert torch.equal(scores_of(model, bare), scores_of(model, data))


def test_tables_refuse_fitted_models(fitted: FittedModel, data: HeteroData) -> None:
    message = rf"but {type(fitted).__name__} scores items otherwise; recommend from the model"
    with pytest.raises(TypeError, match=message):
        EmbeddingTables.from_model(fitted, data)  # type: ignore[arg-type]


def test_says_whether_new_users_get_lists(every_model: Model, data: HeteroData) -> None:
    if every_model.new_users().startswith("not "):
        with pytest.raises(TypeError, match="scores items otherwise"):
            ranked_representations(every_model, data)
        return
    assert "FoldIn" in every_model.new_users()
    tables = EmbeddingTables.from_representations(ranked_representations(every_model, data), data)
    torch.testing.assert_close(tables.user @ tables.item.T, scores_of(every_model, data))
    query = FoldIn(tables)([3, 5])
    assert query.shape == tables.user[0].shape and query.any()


def test_recommend_names_the_right_call(tiny_data: HeteroData) -> None:
    model = BPRMF.from_data(tiny_data)
    with pytest.raises(TypeError, match=r"recommend\(data, user, k\)"):
        model.recommend(torch.tensor([0]), 5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="integer ids of shape"):
        model.recommend(tiny_data, torch.tensor([0.5]), 5)
    item, _ = model.recommend(tiny_data, [0, 1], 5)  # type: ignore[arg-type]
    assert item.shape == (2, 5)


def test_same_seed_same_gradients_on_several_threads(name: str) -> None:
    data = SyntheticMultimodal(size="demo")[0]
    batch = next(iter(BPRBatches(data)))  # Many rows repeat in it.
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        gradients = []
        for _ in range(4):
            torch.manual_seed(11)
            model = CLASSES[name].from_data(data)
            total(model.loss(data, *batch)).backward()
            found = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
            gradients.append(torch.cat(found))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)


def test_ranks_items_that_came_after_training(model: Recommender, data: HeteroData) -> None:
    warm, whole = hold_out_items(data)
    model = type(model).from_data(warm)
    extended = extend(model, whole)
    scores = extended.scorer(extended.prepare(whole)).scores(torch.arange(60))
    assert scores.shape == (60, 80) and scores.isfinite().all()
    if not isinstance(model, LayerGCN):  # Its items are what their users give them.
        assert scores[:, model.num_items :].std() > 0
