import pytest
import torch
from torch import Tensor

from mentor_pyg.nn import ModalityFusion

USERS, ITEMS, DIM = 6, 8, 3
NAMES = ("visual", "textual", "audio")

Views = tuple[dict[str, Tensor], dict[str, Tensor]]


@pytest.fixture
def views() -> Views:
    """Views in another order than the modalities, with one that is not fused."""
    names = ("audio", "id", "visual", "textual")
    user = {name: torch.randn(USERS, DIM) for name in names}
    return user, {name: torch.randn(ITEMS, DIM) for name in names}


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("names", [NAMES, NAMES[:1]])
def test_puts_weighed_modalities_side_by_side(
    views: Views, softmax: bool, names: tuple[str, ...]
) -> None:
    fusion = ModalityFusion(USERS, names, softmax=softmax)
    user, item = fusion(*views)
    weight = fusion.user_modality_weight()
    assert user.shape == (USERS, len(names) * DIM)
    assert item.shape == (ITEMS, len(names) * DIM)
    for m, name in enumerate(names):
        columns = slice(m * DIM, (m + 1) * DIM)
        assert torch.equal(item[:, columns], views[1][name])
        for u in range(USERS):
            torch.testing.assert_close(user[u, columns], weight[u, m] * views[0][name][u])


def test_softmax_weights_always_sum_to_one() -> None:
    fusion = ModalityFusion(USERS, NAMES)
    with torch.no_grad():
        fusion.weight.mul_(100).add_(7)
    weight = fusion.user_modality_weight()
    torch.testing.assert_close(weight.sum(dim=1), torch.ones(USERS))
    assert (weight >= 0).all()


def test_free_weights_start_as_a_softmax_and_are_then_free() -> None:
    fusion = ModalityFusion(USERS, NAMES, softmax=False)
    weight = fusion.user_modality_weight()
    assert weight is fusion.weight
    torch.testing.assert_close(weight.sum(dim=1), torch.ones(USERS))
    assert (weight > 0).all()
    with torch.no_grad():
        fusion.weight.fill_(-3.0)
    assert (fusion.user_modality_weight() == -3).all()


def test_both_start_with_the_same_weights() -> None:
    started = []
    for softmax in (True, False):
        torch.manual_seed(1)
        started.append(ModalityFusion(USERS, NAMES, softmax=softmax).user_modality_weight())
    assert torch.equal(*started)
    assert started[0].std() > 0


@pytest.mark.parametrize("softmax", [True, False])
def test_reset_parameters_is_reproducible(softmax: bool) -> None:
    fusion = ModalityFusion(USERS, NAMES, softmax=softmax)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        fusion.reset_parameters()
        drawn.append(fusion.weight.detach().clone())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("softmax", [True, False])
def test_the_weights_learn_from_users_only(views: Views, softmax: bool) -> None:
    fusion = ModalityFusion(USERS, NAMES, softmax=softmax)
    user, item = fusion(*views)
    assert not item.requires_grad
    user[2:].pow(2).sum().backward()
    assert (fusion.weight.grad[:2] == 0).all()
    assert (fusion.weight.grad[2:] != 0).all()


def test_repr() -> None:
    fusion = ModalityFusion(USERS, NAMES[:2], softmax=False)
    assert repr(fusion) == "ModalityFusion(modalities=['visual', 'textual'], softmax=False)"
