import numpy as np
import pytest
import torch
from torch import Tensor

from mentor_pyg.losses import Moments, Statistics, gaussian_alignment_loss, moments


def aligned(a: Tensor, b: Tensor, statistics: Statistics) -> Tensor:
    return gaussian_alignment_loss(moments(a, statistics), moments(b, statistics))


def test_moments_per_column() -> None:
    x = torch.randn(20, 5, dtype=torch.float64)
    mean, variance = moments(x)
    np.testing.assert_allclose(mean, x.numpy().mean(axis=0))
    np.testing.assert_allclose(variance, x.numpy().var(axis=0, ddof=1))


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_moments_over_all_entries(copies: int) -> None:
    x = torch.randn(20, 5, dtype=torch.float64)
    beside_itself = np.tile(x.numpy(), copies)
    mean, variance = moments(x, "scalar", copies=copies)
    assert mean.item() == pytest.approx(beside_itself.mean(), rel=1e-12)
    assert variance.item() == pytest.approx(beside_itself.var(ddof=1), rel=1e-12)


@pytest.mark.parametrize("statistics", ["dimension", "scalar"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_counts_and_adds_up_in_single(
    statistics: Statistics, dtype: torch.dtype
) -> None:
    x = (2 * torch.randn(20_000, 8) + 5).to(dtype).requires_grad_()  # Sums beyond float16.
    exact = x.detach().double().requires_grad_()
    found, expected = moments(x, statistics), moments(exact, statistics)
    for actual, value in zip(found, expected, strict=True):
        torch.testing.assert_close(actual.double(), value, rtol=1e-5, atol=1e-5)
    (grad,) = torch.autograd.grad(found.variance.sum(), x)
    (of_exact,) = torch.autograd.grad(expected.variance.sum(), exact)
    torch.testing.assert_close(grad, of_exact.to(dtype), rtol=0.02, atol=2e-6)


def test_repeat() -> None:
    x = torch.randn(20, 5, dtype=torch.float64)
    torch.testing.assert_close(moments(x).repeat(3), moments(x.repeat(1, 3)))
    scalar = moments(x, "scalar")
    assert scalar.repeat(3) is scalar


@pytest.mark.parametrize("statistics", ["dimension", "scalar"])
def test_equals_numpy(statistics: Statistics) -> None:
    a = torch.randn(20, 5, dtype=torch.float64)
    b = 2 * torch.randn(30, 5, dtype=torch.float64) + 1
    axis = 0 if statistics == "dimension" else None
    means, variances = (
        [function(x.numpy(), axis) for x in (a, b)]
        for function in (np.mean, lambda x, axis: np.var(x, axis, ddof=1))
    )
    expected = np.mean(abs(means[0] - means[1]) + abs(variances[0] - variances[1]))
    assert aligned(a, b, statistics).item() == pytest.approx(expected, rel=1e-12)
    assert aligned(b, a, statistics).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("statistics", ["dimension", "scalar"])
def test_zero_for_equal_gaussians(statistics: Statistics) -> None:
    x = torch.randn(20, 5)
    a, b = moments(x, statistics), moments(x, statistics)
    assert gaussian_alignment_loss(a, b).item() == 0


def test_means_and_variances_count_apart() -> None:
    a = Moments(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 1.0]))
    b = Moments(torch.tensor([0.0, 4.0]), torch.tensor([1.0, 1.0]))
    assert gaussian_alignment_loss(a, b).item() == ((1 + 2) + (2 + 0)) / 2


@pytest.mark.parametrize("statistics", ["dimension", "scalar"])
@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("mask", [None, torch.arange(6) != 2])
def test_gradient(statistics: Statistics, copies: int, mask: Tensor | None) -> None:
    x = 1 + torch.randn(6, 3, dtype=torch.float64)

    def found(x: Tensor) -> Tensor:
        mean, variance = moments(x, statistics, copies, mask)
        return (mean * variance).sum()

    x.requires_grad_()
    assert torch.autograd.gradcheck(found, x)
    assert torch.autograd.gradgradcheck(found, x)


def test_moments_do_not_depend_on_the_number_of_threads() -> None:
    # Each with enough entries for several threads, which may still add up to the same by chance.
    views = torch.randn(4, 1_000, 64, requires_grad=True)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            values = torch.stack([torch.stack(moments(x, "scalar")) for x in views])
            found.append((values, *torch.autograd.grad(values.sum(), views)))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("statistics", "shape"),
    [("dimension", (1, 4)), ("dimension", (0, 4)), ("scalar", (1, 1)), ("dimension", (4,))],
)
def test_refuses_too_few_rows_for_a_variance(
    statistics: Statistics, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"'x' needs rows of shape \[N, d\], two at least"):
        moments(torch.ones(shape), statistics)


def test_refuses_two_widths() -> None:
    one, many = moments(torch.rand(5, 1)), moments(torch.rand(5, 3))
    with pytest.raises(ValueError, match=r"as many columns as each other \(got \[1\] and \[3\]\)"):
        gaussian_alignment_loss(one, many)
    gaussian_alignment_loss(one.repeat(3), many)


def test_refuses_unknown_statistics() -> None:
    with pytest.raises(ValueError, match=r"'dimension' or 'scalar' \(got 'columns'\)"):
        moments(torch.rand(5, 3), "columns")  # type: ignore[arg-type]


@pytest.mark.parametrize("statistics", ["dimension", "scalar"])
@pytest.mark.parametrize("copies", [1, 3])
def test_rows_that_are_masked_out_do_not_count(statistics: Statistics, copies: int) -> None:
    x = torch.randn(20, 5, dtype=torch.float64)
    mask = torch.arange(20) % 3 > 0
    held = x[mask]
    for rows in (x, x.masked_fill(~mask[:, None], 0), x.masked_fill(~mask[:, None], torch.nan)):
        for actual, expected in zip(
            moments(rows, statistics, copies, mask), moments(held, statistics, copies), strict=True
        ):
            torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("statistics", ["dimension", "scalar"])
def test_moments_of_no_rows_are_zeros_and_of_one_row_finite(statistics: Statistics) -> None:
    x = torch.randn(4, 1, requires_grad=True)
    for kept in (0, 1):
        mask = torch.arange(4) < kept
        mean, variance = moments(x, statistics, mask=mask)
        torch.testing.assert_close(mean.sum(), x[:kept].sum())
        assert (variance == 0).all()
        assert torch.autograd.grad(variance.sum() + mean.sum(), x)[0].isfinite().all()
