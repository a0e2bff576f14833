"""What every recommender in ``MODELS`` promises."""

import copy
import json
from dataclasses import FrozenInstanceError, fields

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, Representations, num_items, num_users
from mentor_pyg.datasets import SyntheticMultimodal, SyntheticSize
from mentor_pyg.models import BPRMF, MODELS, Recommender
from mentor_pyg.sampling import Batch, BPRBatches


@pytest.fixture(scope="module")
def data() -> HeteroData:
    return SyntheticMultimodal("tiny", k=5)[0]


@pytest.fixture(scope="module")
def larger() -> HeteroData:
    size = SyntheticSize(num_users=61, num_items=80, num_train=390, num_val=61, num_test=61)
    return SyntheticMultimodal(size)[0]


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(name: str, data: HeteroData) -> Recommender:
    return MODELS[name][0].from_data(data)


@pytest.fixture
def batch(data: HeteroData) -> Batch:
    return next(iter(BPRBatches(data, 128, seed=1)))


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


def train(model: Recommender, data: HeteroData, steps: int, lr: float = 0.01) -> list[float]:
    """Take Adam steps on one batch and return the losses."""
    batch = next(iter(BPRBatches(data, 256, seed=1)))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = total(model.loss(data, *batch))
        loss.backward()
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
    return a.views == b.views and all(
        torch.equal(a.user[v], b.user[v]) and torch.equal(a.item[v], b.item[v]) for v in a.views
    )


def brute_force(
    model: Recommender, data: HeteroData, user: int, k: int, exclude_seen: bool
) -> list[tuple[int, float]]:
    """Score one item after the other and sort."""
    reps = model.encode(data)
    train_user, train_item = data[INTERACTS].edge_index
    seen = set(train_item[train_user == user].tolist()) if exclude_seen else set()
    scored = [
        (item, (reps.user["fused"][user] @ reps.item["fused"][item]).item())
        for item in range(num_items(data))
        if item not in seen
    ]
    return sorted(scored, key=lambda pair: -pair[1])[:k]


def test_config(name: str, data: HeteroData) -> None:
    model_class, config_class = MODELS[name]
    model = model_class.from_data(data)
    assert type(model.config) is config_class
    assert model.config == config_class()
    config = config_class(embedding_dim=8)
    assert model_class.from_data(data, config).config is config


def test_config_travels_through_json(name: str) -> None:
    config_class = MODELS[name][1]
    config = config_class(embedding_dim=8)
    again = config_class.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert hash(again) == hash(config)


def test_config_refuses_unknown_keys(name: str) -> None:
    config_class = MODELS[name][1]
    with pytest.raises(ValueError, match=r"has no settings \['depth'\]; it has") as raised:
        config_class.from_dict({"embedding_dim": 8, "depth": 3})
    for field in fields(config_class):
        assert repr(field.name) in str(raised.value)


def test_config_is_frozen_and_keyword_only(name: str) -> None:
    config_class = MODELS[name][1]
    with pytest.raises(FrozenInstanceError):
        config_class().embedding_dim = 8
    with pytest.raises(TypeError):
        config_class(8)


def test_encode(model: Recommender, data: HeteroData) -> None:
    reps = model.encode(data)
    assert isinstance(reps, Representations)
    assert "fused" in reps.views
    for view in reps.views:
        user, item = reps.user[view], reps.item[view]
        assert (user.size(0), item.size(0)) == (num_users(data), num_items(data))
        assert user.size(1) == item.size(1)
        assert user.isfinite().all()
        assert item.isfinite().all()


def test_encode_is_deterministic_and_writes_nothing(model: Recommender, data: HeteroData) -> None:
    attributes = attributes_of(model)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    stores = {key: set(data[key].keys()) for key in (*data.node_types, *data.edge_types)}
    random_state = torch.get_rng_state()
    first = model.encode(data)
    model.train(not model.training)
    second = model.encode(data)
    model.train(not model.training)
    assert equal(first, second)
    assert attributes_of(model) == attributes
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert {key: set(data[key].keys()) for key in stores} == stores
    assert torch.equal(torch.get_rng_state(), random_state)


def test_loss_writes_no_attributes(model: Recommender, data: HeteroData, batch: Batch) -> None:
    attributes = attributes_of(model)
    model.loss(data, *batch)
    assert attributes_of(model) == attributes


def test_score(model: Recommender, data: HeteroData) -> None:
    reps = model.encode(data)
    user, item = torch.tensor([0, 7, 7]), torch.tensor([3, 0, 79])
    expected = (reps.user["fused"] @ reps.item["fused"].t())[user, item]
    torch.testing.assert_close(model.score(reps, user, item), expected)
    # One user against several items.
    every = model.score(reps, user[:, None], torch.arange(num_items(data)))
    torch.testing.assert_close(every, reps.user["fused"][user] @ reps.item["fused"].t())


def test_loss_is_named_scalars(model: Recommender, data: HeteroData, batch: Batch) -> None:
    terms = model.loss(data, *batch)
    assert {"bpr", "reg"} <= set(terms)
    for term in terms.values():
        assert term.shape == ()
        assert term.isfinite()


def test_every_parameter_gets_a_gradient(
    model: Recommender, data: HeteroData, batch: Batch
) -> None:
    total(model.loss(data, *batch)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.count_nonzero() > 0, name


def test_loss_is_a_function_of_the_seed(model: Recommender, data: HeteroData, batch: Batch) -> None:
    torch.manual_seed(3)
    first = model.loss(data, *batch)
    torch.manual_seed(3)
    second = model.loss(data, *batch)
    assert {k: v.item() for k, v in first.items()} == {k: v.item() for k, v in second.items()}


def test_loss_falls(name: str, model: Recommender, data: HeteroData) -> None:
    losses = train(model, data, steps=30)
    assert losses[-1] < 0.95 * losses[0]


def test_same_seed_same_parameters(name: str, data: HeteroData) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(11)
        model = MODELS[name][0].from_data(data)
        train(model, data, steps=3)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_state_dict_holds_all(name: str, model: Recommender, data: HeteroData) -> None:
    other = MODELS[name][0].from_data(data)
    assert not equal(other.encode(data), model.encode(data))
    other.load_state_dict(model.state_dict())
    assert equal(other.encode(data), model.encode(data))
    assert equal(copy.deepcopy(model).encode(data), model.encode(data))


def test_reset_parameters(model: Recommender, data: HeteroData) -> None:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.manual_seed(5)
    model.reset_parameters()
    assert all(not torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_recommend_equals_brute_force(
    model: Recommender, data: HeteroData, exclude_seen: bool
) -> None:
    # Out of order, and one user twice.
    user = torch.tensor([17, 0, 59, 17, 4])
    item, score = model.recommend(data, user, k=6, exclude_seen=exclude_seen)
    assert item.shape == score.shape == (5, 6)
    assert not score.requires_grad
    for row, u in enumerate(user.tolist()):
        expected = brute_force(model, data, u, 6, exclude_seen)
        assert item[row].tolist() == [i for i, _ in expected]
        assert score[row].tolist() == pytest.approx([s for _, s in expected], rel=1e-4, abs=1e-6)


def test_recommend_takes_all_users(model: Recommender, data: HeteroData) -> None:
    item, _ = model.recommend(data, torch.arange(num_users(data)), k=20)
    train_user, train_item = data[INTERACTS].edge_index
    seen = set(zip(train_user.tolist(), train_item.tolist(), strict=True))
    recommended = {(u, i) for u, row in enumerate(item.tolist()) for i in row}
    assert recommended.isdisjoint(seen)
    assert len(recommended) == 20 * num_users(data)


def test_recommend_does_not_need_sorted_edges(model: Recommender, data: HeteroData) -> None:
    shuffled = data.clone()
    edge_index = data[INTERACTS].edge_index
    shuffled[INTERACTS].edge_index = edge_index[:, torch.randperm(edge_index.size(1))]
    user = torch.tensor([5, 50, 23])
    first, second = (model.recommend(d, user, k=10)[0] for d in (data, shuffled))
    assert torch.equal(first, second)


def test_recommend_marks_missing_items(model: Recommender, data: HeteroData) -> None:
    user = torch.tensor([0, 1])
    item, score = model.recommend(data, user, k=num_items(data))
    for row, u in enumerate(user.tolist()):
        expected = brute_force(model, data, u, num_items(data), exclude_seen=True)
        assert len(expected) < num_items(data)
        found = item[row, : len(expected)]
        assert found.tolist() == [i for i, _ in expected]
        assert (item[row, len(expected) :] == -1).all()
        assert (score[row, len(expected) :] == -torch.inf).all()


def test_recommend_for_nobody(model: Recommender, data: HeteroData) -> None:
    item, score = model.recommend(data, torch.empty(0, dtype=torch.long), k=4)
    assert item.shape == score.shape == (0, 4)


@pytest.mark.parametrize("k", [0, -1, 81])
def test_recommend_refuses_k(model: Recommender, data: HeteroData, k: int) -> None:
    with pytest.raises(ValueError, match=rf"'k' needs to be a positive integer .* \(got {k}\)"):
        model.recommend(data, torch.tensor([0]), k=k)


@pytest.mark.parametrize("user", [[-1], [60], [3, 60], [-1, 3]])
def test_recommend_refuses_users(model: Recommender, data: HeteroData, user: list[int]) -> None:
    with pytest.raises(ValueError, match="'user' needs ids from 0 to 59"):
        model.recommend(data, torch.tensor(user))


def test_refuses_data_of_another_size(model: Recommender, larger: HeteroData, batch: Batch) -> None:
    message = (
        "'data' has 61 users and 80 items, but the model was built for 60 and 80; "
        rf"build one with {type(model).__name__}.from_data"
    )
    with pytest.raises(ValueError, match=message):
        model.encode(larger)
    with pytest.raises(ValueError, match=message):
        model.loss(larger, *batch)
    with pytest.raises(ValueError, match=message):
        model.recommend(larger, torch.tensor([0]))


def test_refuses_embedding_dim(name: str) -> None:
    with pytest.raises(ValueError, match=r"'embedding_dim' needs to be at least 1 \(got 0\)"):
        MODELS[name][1](embedding_dim=0)


def test_refuses_negative_penalty(name: str) -> None:
    with pytest.raises(ValueError, match=r"'reg_weight' needs to be at least 0 \(got -1\)"):
        MODELS[name][1].from_dict({"reg_weight": -1})


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
            model = MODELS[name][0].from_data(data)
            torch.stack(list(model.loss(data, *batch).values())).sum().backward()
            found = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
            gradients.append(torch.cat(found))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
