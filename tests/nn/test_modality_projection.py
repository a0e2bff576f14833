import torch

from mentor_pyg.nn import ModalityProjection


def test_equals_its_formula_and_is_zero_where_nothing_is_present() -> None:
    x, present = torch.randn(5, 3), torch.tensor([True, True, False, True, False])
    for bias in (True, False):
        projection = ModalityProjection(3, 4, bias)
        if projection.bias is not None:
            torch.nn.init.normal_(projection.bias)
        out = projection(x, present)
        for row in range(5):
            expected = projection.weight @ x[row]
            if projection.bias is not None:
                expected = expected + projection.bias
            torch.testing.assert_close(out[row], expected if present[row] else torch.zeros(4))
        torch.testing.assert_close(projection(x[:2]), out[:2])


def test_repr() -> None:
    assert repr(ModalityProjection(3, 4)) == "ModalityProjection(3, 4, bias=True)"
