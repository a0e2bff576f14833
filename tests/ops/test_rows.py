import pytest
import torch
import torch.nn.functional as F

from mentor_pyg.ops import nonzero_rows, sum_of_products, unit_rows


@pytest.mark.parametrize("shape", [(6, 3), (2, 6, 3), (0, 3)])
def test_it_is_normalize_and_so_is_its_gradient(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    x[..., :1, :] = 0.0
    x[..., 1:2, :] *= 4e-13  # Shorter than what it is divided by.
    x.requires_grad_()
    out, expected = unit_rows(x), F.normalize(x, dim=-1)
    assert torch.equal(out, expected)
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    (of_out,) = torch.autograd.grad(out, x, grad)
    (of_expected,) = torch.autograd.grad(expected, x, grad)
    of_expected[..., :2, :] = 0.0
    torch.testing.assert_close(of_out, of_expected)


def test_it_is_differentiable_twice() -> None:
    x = torch.randn(4, 3, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    assert torch.autograd.gradcheck(unit_rows, x)
    assert torch.autograd.gradgradcheck(unit_rows, x)
    x = torch.cat([x.detach(), torch.zeros(1, 3)]).requires_grad_()
    (first,) = torch.autograd.grad(unit_rows(x).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    assert second.isfinite().all() and (second[-1] == 0).all()


def test_rows_with_anything_in_them() -> None:
    rows = [[0.0, 0.0], [0.0, -1.0], [1.0, 0.0], [1.0, -1.0], [-0.0, 0.0], [1e-40, 0.0]]
    found = nonzero_rows(torch.tensor([rows, rows[::-1]]))
    expected = torch.tensor([False, True, True, True, False, True])
    assert torch.equal(found.squeeze(-1), torch.stack([expected, expected.flip(0)]))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_sum_of_products(count: int) -> None:
    a, b = torch.randn(count, 4, 1), torch.randn(count, 4, 3)
    torch.testing.assert_close(sum_of_products(a, list(b)), (a * b).sum(dim=0))
    with pytest.raises(ValueError, match="argument 2 is"):
        sum_of_products(a, torch.cat([b, b]))


def test_autocast_does_not_round_its_gradient() -> None:
    x, grad = torch.randn(2, 50, 16, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    (expected,) = torch.autograd.grad(F.normalize(x), x, grad)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (found,) = torch.autograd.grad(unit_rows(x), x, grad)
    torch.testing.assert_close(found, expected)


def test_half_precision_has_room_for_short_and_for_long_rows() -> None:
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    x *= torch.tensor([0.0, 1e-4, 1.0, 1e2, 5e3]).unsqueeze(1)
    half = x.half().requires_grad_()
    out = unit_rows(half)
    (grad,) = torch.autograd.grad(out, half, torch.ones_like(out))
    wide = half.detach().double().requires_grad_()
    expected = F.normalize(wide)
    (of_expected,) = torch.autograd.grad(expected, wide, torch.ones_like(expected))
    of_expected[0] = 0.0
    assert (out.dtype, grad.dtype) == (torch.float16, torch.float16)
    torch.testing.assert_close(out.double(), expected, rtol=2e-3, atol=2e-4)
    torch.testing.assert_close(grad.double(), of_expected, rtol=2e-2, atol=2e-3)
