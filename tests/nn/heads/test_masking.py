import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor

from mentor_pyg.nn import FeatureMasking

ROWS, WIDTH = 12, 6


@pytest.fixture
def head() -> FeatureMasking:
    return FeatureMasking(WIDTH)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(ROWS, WIDTH, requires_grad=True)


@pytest.fixture
def keep() -> Tensor:
    return torch.rand(ROWS, WIDTH) < 0.5


def test_equals_sklearns_cosine(head: FeatureMasking, x: Tensor, keep: Tensor) -> None:
    prediction = head.predictor(x).detach().numpy()
    target = (x * keep).detach().numpy()
    expected = 1 - cosine_similarity(prediction, target).diagonal().mean()
    assert head(x, keep).item() == pytest.approx(expected, rel=1e-5)


def test_the_target_gets_no_gradient_but_predictor_and_input_do(
    head: FeatureMasking, x: Tensor, keep: Tensor
) -> None:
    found = torch.autograd.grad(head(x, keep), (x, *head.parameters()))
    target = (x * keep).detach()
    expected_loss = (1 - torch.cosine_similarity(head.predictor(x), target)).mean()
    expected = torch.autograd.grad(expected_loss, (x, *head.parameters()))
    for a, b in zip(found, expected, strict=True):
        assert a.ne(0).any()
        torch.testing.assert_close(a, b)


def test_entries_are_drawn_anew_and_reproducibly(head: FeatureMasking, x: Tensor) -> None:
    for mode in (head.train(), head.eval()):  # The target is masked in either.
        losses = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            losses.append(mode(x))
        assert torch.equal(losses[0], losses[1])
        assert not torch.equal(losses[0], losses[2])
        assert not torch.equal(mode(x), mode(x))


@pytest.mark.parametrize("mask_ratio", [0.1, 0.8])
def test_mask_ratio_is_the_share_that_is_lost(mask_ratio: float) -> None:
    head = FeatureMasking(1, mask_ratio)
    with torch.no_grad():
        head.predictor.weight.fill_(1.0)
        head.predictor.bias.zero_()
    # In one column, a kept entry costs 0 and a lost one 1.
    loss = head(torch.ones(20_000, 1))
    assert loss.item() == pytest.approx(mask_ratio, abs=0.015)


def test_without_masking_the_target_is_the_view(x: Tensor) -> None:
    head = FeatureMasking(WIDTH, mask_ratio=0.0)
    assert torch.equal(head(x), head(x, torch.ones(ROWS, WIDTH, dtype=torch.bool)))


def test_rows_that_lose_everything_have_finite_gradients(head: FeatureMasking, x: Tensor) -> None:
    loss = head(x, torch.zeros(ROWS, WIDTH, dtype=torch.bool))
    assert loss == 1
    loss.backward()
    assert x.grad.isfinite().all()


def test_reset_parameters_is_reproducible(head: FeatureMasking) -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        head.reset_parameters()
        drawn.append(head.predictor.weight.detach().clone())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("mask_ratio", [-0.1, 1.0, float("nan")])
def test_refuses_mask_ratio(mask_ratio: float) -> None:
    with pytest.raises(ValueError, match=rf"'mask_ratio' needs .* \(got {mask_ratio}\)"):
        FeatureMasking(WIDTH, mask_ratio)


def test_repr() -> None:
    assert repr(FeatureMasking(2, 0.25)) == (
        "FeatureMasking(\n"
        "  mask_ratio=0.25\n"
        "  (predictor): Linear(in_features=2, out_features=2, bias=True)\n"
        ")"
    )
