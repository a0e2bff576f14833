import pytest
import torch
import torch.nn.functional as F

from mentor_pyg.ops import unit_rows


@pytest.mark.parametrize("shape", [(6, 3), (2, 6, 3), (0, 3)])
def test_it_is_normalize_and_so_is_its_gradient(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    x[..., :1, :] = 0.0
    x[..., 1:2, :] *= 1e-20  # Divided by a constant.
    x.requires_grad_()
    out, expected = unit_rows(x), F.normalize(x, dim=-1)
    assert torch.equal(out, expected)
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    (of_out,) = torch.autograd.grad(out, x, grad)
    (of_expected,) = torch.autograd.grad(expected, x, grad)
    torch.testing.assert_close(of_out, of_expected)


def test_it_is_differentiable_twice() -> None:
    x = torch.randn(4, 3, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    assert torch.autograd.gradcheck(unit_rows, x)
    assert torch.autograd.gradgradcheck(unit_rows, x)
