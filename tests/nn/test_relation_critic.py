"""The critic, compared with one that is given the rows of users and all items."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.graph import Adjacency
from mentor_pyg.nn import RelationCritic

USERS, ITEMS, HIDDEN = 6, 9, 5
EDGES = torch.tensor([[0, 0, 1, 2, 2, 2, 4], [0, 3, 3, 1, 5, 8, 2]])
"""User 3 and 5 have none."""


@pytest.fixture
def critic() -> RelationCritic:
    critic = RelationCritic(ITEMS, HIDDEN).double()
    for parameter in critic.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return critic


@pytest.fixture
def seen() -> Adjacency:
    weight = torch.rand(EDGES.size(1), dtype=torch.float64)  # To play no part.
    return Adjacency.from_edge_index(EDGES.flip(0), weight, num_nodes=(ITEMS, USERS))


def unseen_rows(user: Tensor, item: Tensor) -> Tensor:
    rows = user @ item.t()
    mask = torch.ones_like(rows)
    mask[EDGES[0], EDGES[1]] = 0
    return F.normalize(rows * mask)


def judged(critic: RelationCritic, rows: Tensor, keep: list[Tensor]) -> Tensor:
    """Return the critic's words on rows that are there."""
    z = rows @ critic.item_weight + critic.bias
    for layer in (0, 1):
        if layer:
            z = critic.hidden(z)
        z = torch.where(z > 0, z, 0.01 * z)
        z = F.batch_norm(
            z, None, None, critic.scales[layer], critic.shifts[layer], training=True, eps=1e-5
        )
        z = z * keep[layer] / (1 - (0.31, 0.5)[layer])
    return 100 / (1 + torch.exp(-critic.output(z)[:, 0]))


def keeps(rows: int) -> list[Tensor]:
    return [torch.rand(rows, HIDDEN) < 0.7, torch.rand(rows, HIDDEN // 2) < 0.5]


def test_similarity_equals_rows_and_their_gradients(
    critic: RelationCritic, seen: Adjacency
) -> None:
    user = torch.randn(USERS, 4, dtype=torch.float64)
    user[5] = 0
    item = torch.randn(ITEMS, 4, dtype=torch.float64)
    leaves = (user.requires_grad_(), item.requires_grad_(), critic.item_weight)
    product, length = critic.similarity(user, item, seen)
    expected = unseen_rows(user, item) @ critic.item_weight
    torch.testing.assert_close(product, expected)
    assert length.flatten().tolist() == [1, 1, 1, 1, 1, 0]
    along = torch.randn_like(product)
    along[5] = 0
    found = torch.autograd.grad((product * along).sum(), leaves)
    for a, b in zip(found, torch.autograd.grad((expected * along).sum(), leaves), strict=True):
        torch.testing.assert_close(a, b)


def test_a_row_of_zeros_has_no_gradient(critic: RelationCritic) -> None:
    everything = torch.cartesian_prod(torch.arange(USERS), torch.arange(ITEMS)).t()
    seen = Adjacency.from_edge_index(everything.flip(0), num_nodes=(ITEMS, USERS))
    user = torch.randn(USERS, 4, dtype=torch.float64, requires_grad=True)
    product, length = critic.similarity(user, torch.randn(ITEMS, 4).double(), seen)
    assert (product == 0).all()
    assert (length == 0).all()
    [gradient] = torch.autograd.grad(product.sum(), user)
    assert (gradient == 0).all()


def test_words_equal_those_on_rows(critic: RelationCritic) -> None:
    rows, keep = torch.randn(USERS, ITEMS).double(), keeps(USERS)
    torch.testing.assert_close(critic(rows @ critic.item_weight, keep), judged(critic, rows, keep))
    one = critic(rows[:1] @ critic.item_weight, [k[:1] for k in keep])
    assert one.isfinite().all()


@pytest.mark.parametrize("wanted", [True, False])
def test_gradient_penalty_equals_that_in_rows(critic: RelationCritic, wanted: bool) -> None:
    rows, keep = torch.randn(USERS, ITEMS).double().requires_grad_(), keeps(USERS)
    [gradient] = torch.autograd.grad(judged(critic, rows, keep).sum(), rows, create_graph=True)
    expected = (gradient.norm(dim=1) - 1).square().mean()
    with torch.set_grad_enabled(wanted):
        product = rows.detach() @ critic.item_weight
        penalty = critic.gradient_penalty(product, keep)
    torch.testing.assert_close(penalty, expected)
    if wanted:
        names = [n for n, _ in critic.named_parameters() if n != "output.bias"]
        leaves = [critic.get_parameter(n) for n in names]
        pairs = (torch.autograd.grad(x, leaves, allow_unused=True) for x in (penalty, expected))
        for name, a, b in zip(names, *pairs, strict=True):
            torch.testing.assert_close(a, b, msg=name)
    else:
        assert not penalty.requires_grad


def test_weights_are_drawn_for_the_number_of_items() -> None:
    critic = RelationCritic(4000, 16)
    assert critic.item_weight.std().item() == pytest.approx((2 / 4000) ** 0.5, rel=0.05)
    assert critic.hidden.weight.shape == (8, 16)
    assert (critic.bias == 0).all()
    assert repr(critic).startswith("RelationCritic(\n  4000, hidden_dim=16")


def test_views_of_half_precision_are_compared_in_full(
    critic: RelationCritic, seen: Adjacency
) -> None:
    critic = critic.float()
    user, item = torch.randn(USERS, 4).bfloat16(), torch.randn(ITEMS, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = critic.similarity(user, item, seen)
    expected = critic.similarity(user.float(), item.float(), seen)
    for actual, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(actual, wanted)
