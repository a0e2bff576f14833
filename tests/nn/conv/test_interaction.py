import pytest
import torch
from torch import Tensor, nn
from torch_geometric import EdgeIndex
from torch_geometric.nn import HeteroConv, LGConv, SAGEConv, to_hetero

from mentor_pyg.data import INTERACTS, REV_INTERACTS
from mentor_pyg.graph import Adjacency, normalize_symmetric
from mentor_pyg.nn import InteractionConv

USERS, ITEMS, WIDTH = 13, 9, 5
NODES = USERS + ITEMS


@pytest.fixture
def interactions() -> Tensor:
    """Interactions in no order; the last user and the last item have none."""
    pairs = (torch.rand(USERS - 1, ITEMS - 1) < 0.4).nonzero()
    return pairs[torch.randperm(pairs.size(0))].t().contiguous()


@pytest.fixture
def joint(interactions: Tensor) -> Tensor:
    user, item = interactions[0], interactions[1] + USERS
    both = torch.stack([torch.cat([user, item]), torch.cat([item, user])])
    return both[:, torch.randperm(both.size(1))]


@pytest.fixture
def x() -> Tensor:
    return torch.randn(NODES, WIDTH, requires_grad=True)


def test_all_kinds_of_edges_equal_lgconv(joint: Tensor, x: Tensor) -> None:
    conv = InteractionConv()
    expected = LGConv()(x, joint)
    (expected_grad,) = torch.autograd.grad(expected.pow(3).sum(), x)
    weight = normalize_symmetric(joint, NODES)
    unsorted = EdgeIndex(joint, sparse_size=(NODES, NODES), is_undirected=True)
    edges = {
        "tensor": joint,
        "unsorted": unsorted,
        "fused": unsorted.sort_by("col").values,
        "normalized": Adjacency.normalized(joint, num_nodes=NODES),
        "adjacency": Adjacency.from_edge_index(joint, weight, num_nodes=NODES),
        "symmetric": Adjacency.from_edge_index(joint, weight, num_nodes=NODES, is_symmetric=True),
    }
    for name, edge_index in edges.items():
        out = conv(x, edge_index)
        (grad,) = torch.autograd.grad(out.pow(3).sum(), x)
        torch.testing.assert_close(out, expected, msg=name)
        torch.testing.assert_close(grad, expected_grad, msg=name)


def test_equals_a_naive_loop(interactions: Tensor) -> None:
    user, item = torch.randn(USERS, 2), torch.randn(ITEMS, 2)
    pairs = interactions.t().tolist()
    expected = torch.zeros(ITEMS, 2)
    for u, i in pairs:
        degrees = sum(a == u for a, _ in pairs) * sum(b == i for _, b in pairs)
        expected[i] += user[u] / degrees**0.5
    torch.testing.assert_close(InteractionConv()((user, item), interactions), expected)


def test_nodes_without_edges_get_zeros(joint: Tensor, x: Tensor) -> None:
    out = InteractionConv()(x, joint)
    assert torch.equal(out[[USERS - 1, NODES - 1]], torch.zeros(2, WIDTH))
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(grad[[USERS - 1, NODES - 1]], torch.zeros(2, WIDTH))
    assert grad.isfinite().all()


def test_edge_weights_replace_the_normalisation(joint: Tensor, x: Tensor) -> None:
    weight = torch.rand(joint.size(1))
    expected = LGConv(normalize=False)(x, joint, weight)
    torch.testing.assert_close(InteractionConv()(x, joint, weight), expected)


def test_size_gives_the_number_of_targets(interactions: Tensor) -> None:
    user, item = torch.randn(USERS, 2), torch.randn(ITEMS, 7)
    conv = InteractionConv()
    expected = conv((user, item), interactions)
    assert expected.shape == (ITEMS, 2)
    assert torch.equal(conv((user, None), interactions, size=(USERS, ITEMS)), expected)


@pytest.mark.parametrize("sort", [False, True])
def test_bipartite_directions_equal_the_joint_graph(
    interactions: Tensor, joint: Tensor, x: Tensor, sort: bool
) -> None:
    forward: Tensor = interactions
    backward: Tensor = interactions.flip(0)
    if sort:
        forward = EdgeIndex(forward, sparse_size=(USERS, ITEMS)).sort_by("col").values
        backward = EdgeIndex(backward, sparse_size=(ITEMS, USERS)).sort_by("col").values
    conv = HeteroConv({INTERACTS: InteractionConv(), REV_INTERACTS: InteractionConv()})
    user, item = x.split([USERS, ITEMS])
    out = conv({"user": user, "item": item}, {INTERACTS: forward, REV_INTERACTS: backward})
    expected = InteractionConv()(x, joint)
    found = torch.cat([out["user"], out["item"]])
    torch.testing.assert_close(found, expected)
    (grad,) = torch.autograd.grad(found.pow(3).sum(), x)
    torch.testing.assert_close(grad, torch.autograd.grad(expected.pow(3).sum(), x)[0])


def test_an_adjacency_per_direction_works_in_a_hetero_conv(interactions: Tensor) -> None:
    x = {"user": torch.randn(USERS, 3), "item": torch.randn(ITEMS, 3)}
    conv = HeteroConv({INTERACTS: InteractionConv(), REV_INTERACTS: InteractionConv()})
    plain = {INTERACTS: interactions, REV_INTERACTS: interactions.flip(0)}
    weight = normalize_symmetric(interactions, (USERS, ITEMS))
    forward = Adjacency.from_edge_index(interactions, weight, num_nodes=(USERS, ITEMS))
    out = conv(x, {INTERACTS: forward, REV_INTERACTS: forward.transposed})
    for name, expected in conv(x, plain).items():
        torch.testing.assert_close(out[name], expected)


class SomeonesModel(nn.Module):
    """Another library's layers around ours."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(WIDTH, 4)
        self.conv1 = InteractionConv()
        self.conv2 = SAGEConv((-1, -1), 4)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self.lin(x).relu()
        return self.conv2(self.conv1(h, edge_index), edge_index)


def test_works_in_someones_module(joint: Tensor, x: Tensor) -> None:
    model = SomeonesModel()
    out = model(x, joint)
    out.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert "InteractionConv(backend='auto')" in repr(model)
    assert set(model.state_dict()) == {
        "lin.weight", "lin.bias", "conv2.lin_l.weight", "conv2.lin_l.bias", "conv2.lin_r.weight"
    }  # fmt: skip


def test_works_in_to_hetero(interactions: Tensor) -> None:
    class Convs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = InteractionConv()

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            return self.conv(x, edge_index)

    user, item = torch.randn(USERS, 3), torch.randn(ITEMS, 3)
    model = to_hetero(Convs(), (["user", "item"], [INTERACTS, REV_INTERACTS]))
    edges = {INTERACTS: interactions, REV_INTERACTS: interactions.flip(0)}
    out = model({"user": user, "item": item}, edges)
    conv = InteractionConv()
    torch.testing.assert_close(out["item"], conv((user, item), interactions))
    torch.testing.assert_close(out["user"], conv((item, user), interactions.flip(0)))


def test_repr() -> None:
    assert repr(InteractionConv()) == "InteractionConv(backend='auto')"
    assert repr(InteractionConv(backend="naive")) == "InteractionConv(backend='naive')"
