import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.nn import LightGCN as PyGLightGCN

from mentor_pyg.data import INTERACTS, num_items, num_users
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.models import BPRMF, LightGCN, LightGCNConfig
from mentor_pyg.sampling import BPRBatches


@pytest.fixture(scope="module")
def data() -> HeteroData:
    return SyntheticMultimodal("tiny", modalities=())[0]


@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_equals_dense_formula(data: HeteroData, num_layers: int) -> None:
    model = LightGCN.from_data(data, LightGCNConfig(num_layers=num_layers, embedding_dim=7))
    users, items = num_users(data), num_items(data)
    adjacency = np.zeros((users + items, users + items))
    user, item = data[INTERACTS].edge_index.numpy()
    adjacency[user, users + item] = adjacency[users + item, user] = 1
    degree = adjacency.sum(axis=1)
    scale = np.where(degree > 0, np.maximum(degree, 1) ** -0.5, 0)
    normalised = scale[:, None] * adjacency * scale
    x = torch.cat([model.user_embedding, model.item_embedding]).detach().double().numpy()
    layers = [np.linalg.matrix_power(normalised, n) @ x for n in range(num_layers + 1)]
    reps = model.encode(data)
    assert reps.views == ("fused",)
    actual = reps.nodes("fused").detach().numpy()
    np.testing.assert_allclose(actual, np.mean(layers, axis=0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("num_layers", [1, 2, 4])
def test_equals_pyg(data: HeteroData, num_layers: int) -> None:
    model = LightGCN.from_data(data, LightGCNConfig(num_layers=num_layers))
    users, items = num_users(data), num_items(data)
    theirs = PyGLightGCN(users + items, model.config.embedding_dim, num_layers)
    with torch.no_grad():
        theirs.embedding.weight.copy_(torch.cat([model.user_embedding, model.item_embedding]))
    user, item = data[INTERACTS].edge_index
    joint = torch.stack([torch.cat([user, item + users]), torch.cat([item + users, user])])
    expected = theirs.get_embedding(joint)
    actual = model.encode(data).nodes("fused")
    torch.testing.assert_close(actual, expected)
    # The gradients too.
    weight = torch.randn_like(expected)
    (expected * weight).sum().backward()
    (actual * weight).sum().backward()
    grad = torch.cat([model.user_embedding.grad, model.item_embedding.grad])
    torch.testing.assert_close(grad, theirs.embedding.weight.grad)


def test_without_layers_it_is_matrix_factorisation(data: HeteroData) -> None:
    model = LightGCN.from_data(data, LightGCNConfig(num_layers=0))
    other = BPRMF.from_data(data)
    other.load_state_dict(model.state_dict())
    batch = next(iter(BPRBatches(data, 50)))
    torch.testing.assert_close(model.loss(data, *batch), other.loss(data, *batch))


def test_penalty_is_on_the_tables(data: HeteroData) -> None:
    user, pos_item, neg_item = torch.tensor([[1, 1], [5, 6], [7, 8]])
    model = LightGCN.from_data(data, LightGCNConfig(reg_weight=0.5))
    rows = (
        model.user_embedding[user],
        model.item_embedding[pos_item],
        model.item_embedding[neg_item],
    )
    expected = 0.5 * torch.stack(rows).square().sum() / (2 * 2)
    torch.testing.assert_close(model.loss(data, user, pos_item, neg_item)["reg"], expected)


def test_defaults() -> None:
    config = LightGCNConfig()
    assert (config.embedding_dim, config.num_layers, config.reg_weight) == (64, 3, 1e-4)


def test_refuses_layers() -> None:
    with pytest.raises(ValueError, match=r"'num_layers' needs to be at least 0 \(got -1\)"):
        LightGCNConfig(num_layers=-1)
