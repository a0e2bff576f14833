import pytest
import torch
import torch.nn.functional as F
from scipy.stats import kstest, norm
from torch import Tensor

from mentor_pyg.nn import ModalityEncoder, encode_together

USERS, ITEMS, CHANNELS, DIM = 6, 9, 5, 4


@pytest.fixture
def encoder() -> ModalityEncoder:
    return ModalityEncoder(CHANNELS, DIM, USERS)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(ITEMS, CHANNELS)


@pytest.fixture
def present() -> Tensor:
    mask = torch.ones(ITEMS, dtype=torch.bool)
    mask[[0, 4, 8]] = False
    return mask


def test_equals_the_formula_row_by_row(encoder: ModalityEncoder, x: Tensor) -> None:
    state = {name: value.double() for name, value in encoder.state_dict().items()}
    out = encoder(x)
    assert out.shape == (USERS + ITEMS, DIM)
    for u in range(USERS):
        row = state["user_preference"][u]
        torch.testing.assert_close(out[u].double(), row / row.norm(), rtol=1e-5, atol=1e-6)
    for i in range(ITEMS):
        hidden = state["hidden.weight"] @ x[i].double() + state["hidden.bias"]
        assert hidden.shape == (4 * DIM,)
        row = torch.where(hidden > 0, hidden, 0.01 * hidden) @ state["output.weight"].t()
        row = row + state["output.bias"]
        torch.testing.assert_close(out[USERS + i].double(), row / row.norm(), rtol=1e-5, atol=1e-6)


def test_rows_have_unit_length(encoder: ModalityEncoder, x: Tensor) -> None:
    torch.testing.assert_close(encoder(x).norm(dim=1), torch.ones(USERS + ITEMS))


def test_absent_items_are_zeros_and_change_nothing(
    encoder: ModalityEncoder, x: Tensor, present: Tensor
) -> None:
    out = encoder(x, present)
    assert (out[USERS:][~present] == 0).all()
    kept = torch.cat([torch.ones(USERS, dtype=torch.bool), present])
    assert torch.equal(out[kept], encoder(x)[kept])


def test_absent_items_give_no_gradient_and_no_nan(
    encoder: ModalityEncoder, x: Tensor, present: Tensor
) -> None:
    x.requires_grad_()
    encoder(x, present).pow(3).sum().backward()
    assert x.grad is not None
    assert (x.grad[~present] == 0).all()
    assert (x.grad[present] != 0).any(dim=1).all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_all_present_is_the_same_as_not_given(encoder: ModalityEncoder, x: Tensor) -> None:
    assert torch.equal(encoder(x, torch.ones(ITEMS, dtype=torch.bool)), encoder(x))


@pytest.mark.parametrize("count", [1, 3])
def test_together_they_give_what_each_gives_alone(x: Tensor, present: Tensor, count: int) -> None:
    encoders = {f"e{n}": ModalityEncoder(CHANNELS, DIM + n, USERS) for n in range(count)}
    out = encode_together(encoders, x, present)
    assert list(out) == list(encoders)
    for name, encoder in encoders.items():
        together, alone = out[name], encoder(x, present)
        torch.testing.assert_close(together, alone)
        parameters = list(encoder.parameters())
        seed = torch.randn_like(alone)
        torch.testing.assert_close(
            torch.autograd.grad(together, parameters, seed, retain_graph=True),
            torch.autograd.grad(alone, parameters, seed),
        )


def test_reset_parameters_is_reproducible(encoder: ModalityEncoder) -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        encoder.reset_parameters()
        drawn.append({name: value.clone() for name, value in encoder.state_dict().items()})
    assert set(drawn[0]) == {
        "user_preference", "hidden.weight", "hidden.bias", "output.weight", "output.bias"
    }  # fmt: skip
    for name, value in drawn[0].items():
        assert torch.equal(value, drawn[1][name])
        assert not torch.equal(value, drawn[2][name])


def test_preferences_are_xavier_normal() -> None:
    table = ModalityEncoder(2, 64, 1000).user_preference.detach().flatten().numpy()
    assert kstest(table, norm(scale=(2 / 1064) ** 0.5).cdf).pvalue > 0.01


def test_repr(encoder: ModalityEncoder) -> None:
    assert repr(encoder) == (
        "ModalityEncoder(\n"
        "  (hidden): Linear(in_features=5, out_features=16, bias=True)\n"
        "  (output): Linear(in_features=16, out_features=4, bias=True)\n"
        ")"
    )


def test_items_are_those_that_are_scaled(
    encoder: ModalityEncoder, x: Tensor, present: Tensor
) -> None:
    for mask in (None, present):
        items = encoder.items(x, mask)
        torch.testing.assert_close(encoder(x, mask)[USERS:], F.normalize(items))
        assert (items.norm(dim=1) - 1).abs().max() > 0.1
    assert (encoder.items(x, present)[[0, 4, 8]] == 0).all()
