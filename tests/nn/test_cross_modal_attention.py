import math

import numpy as np
import pytest
import torch

from mentor_pyg.nn import CrossModalAttention


@pytest.mark.parametrize(("modalities", "heads"), [(1, 2), (2, 4), (3, 1)])
def test_equals_loops(modalities: int, heads: int) -> None:
    layer, x = CrossModalAttention(8, heads), torch.randn(modalities, 5, 8)
    query, key, output = (p.detach().double().numpy() for p in layer.parameters())
    rows, width = x.double().numpy(), 8 // heads
    for n in range(5):
        attended = []
        for m in range(modalities):
            mixed = []
            for h in range(heads):
                part = slice(h * width, (h + 1) * width)
                asked = rows[m, n] @ query[:, part]
                scores = [
                    asked @ (rows[other, n] @ key[:, part]) / math.sqrt(width)
                    for other in range(modalities)
                ]
                odds = [math.exp(s) / sum(math.exp(t) for t in scores) for s in scores]
                mixed.append(sum(o * row for o, row in zip(odds, rows[:, n], strict=True)))
            attended.append(np.concatenate(mixed) @ output)
        expected = np.mean(attended, axis=0)
        np.testing.assert_allclose(layer(x)[n].detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("heads", [0, 3])
def test_refuses_heads_that_do_not_divide(heads: int) -> None:
    with pytest.raises(
        ValueError, match=rf"'num_heads' needs to divide the width, 8 \(got {heads}"
    ):
        CrossModalAttention(8, heads)


def test_repr() -> None:
    assert repr(CrossModalAttention(8, 2)) == "CrossModalAttention(8, num_heads=2)"
