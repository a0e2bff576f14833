import pytest
import torch
from sklearn.metrics.pairwise import paired_cosine_distances

from mentor_pyg.losses import cosine_loss


def test_equals_paired_distances() -> None:
    prediction, target = torch.randn(2, 30, 7, dtype=torch.float64)
    expected = paired_cosine_distances(prediction.numpy(), target.numpy()).mean()
    assert cosine_loss(prediction, target).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("scale", "expected"), [(2.0, 0.0), (-0.5, 2.0), (0.0, 1.0)])
def test_extremes(scale: float, expected: float) -> None:
    target = torch.randn(4, 3, dtype=torch.float64)
    assert cosine_loss(scale * target, target).item() == pytest.approx(expected, abs=1e-12)


def test_zero_rows_have_no_gradient() -> None:
    prediction = torch.randn(3, 4)
    prediction[1] = 0
    target = torch.randn(3, 4)
    target[2] = 0
    prediction.requires_grad_()
    target.requires_grad_()
    cosine_loss(prediction, target).backward()
    for side in (prediction, target):
        assert side.grad is not None
        assert side.grad.any(dim=1).tolist() == [True, False, False]


def test_gradient() -> None:
    prediction, target = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(cosine_loss, (prediction, target))


def test_refuses_shapes_that_would_broadcast() -> None:
    with pytest.raises(ValueError, match=r"need one shape \[N, d\] \(got \[3, 4\] and \[1, 4\]\)"):
        cosine_loss(torch.ones(3, 4), torch.ones(1, 4))


def test_mask_leaves_rows_out() -> None:
    prediction, target = torch.randn(5, 3), torch.randn(5, 3)
    mask = torch.tensor([True, False, False, True, True])
    torch.testing.assert_close(
        cosine_loss(prediction, target, mask), cosine_loss(prediction[mask], target[mask])
    )
    assert cosine_loss(prediction, target, torch.zeros(5, dtype=torch.bool)) == 0
    with pytest.raises(ValueError, match=r"'mask' needs the shape \[5\], .* \(got \[5, 1\]\)"):
        cosine_loss(prediction, target, mask[:, None])


def test_half_precision_has_room_for_zero_rows() -> None:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).half()
    x[0] = 0.0
    x.requires_grad_()
    loss = cosine_loss(x, torch.ones(3, 4, dtype=torch.half))
    loss.backward()
    assert loss.dtype == torch.float32
    assert x.grad is not None and x.grad.isfinite().all()
    torch.testing.assert_close(
        loss, cosine_loss(x.detach().float(), torch.ones(3, 4)), rtol=1e-6, atol=1e-6
    )
