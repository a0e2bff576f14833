import pytest
import torch
from scipy.stats import kstest
from torch import Tensor, nn

from mentor_pyg.ops import uniform_like


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(3, 5, 2), (0, 4), ()], ids=str)
def test_has_the_shape_and_dtype(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    draws = uniform_like(torch.zeros(shape, dtype=dtype, requires_grad=True))
    assert (draws.shape, draws.dtype, draws.requires_grad) == (shape, dtype, False)
    assert ((draws >= 0) & (draws < 1)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_is_uniform(dtype: torch.dtype) -> None:
    draws = uniform_like(torch.empty(100, 200, dtype=dtype))
    assert kstest(draws.flatten().numpy(), "uniform").pvalue > 0.01
    assert draws.unique().numel() > 19_900


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_follows_torchs_seed(dtype: torch.dtype) -> None:
    x = torch.empty(4, 4, dtype=dtype)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append((uniform_like(x), uniform_like(x)))
    assert all(torch.equal(a, b) for a, b in zip(*drawn[:2], strict=True))
    assert not torch.equal(drawn[0][0], drawn[2][0])
    assert not torch.equal(*drawn[0])


class Dropped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * (uniform_like(x) >= 0.5)


def test_is_compiled_and_exported_whole() -> None:
    x = torch.ones(100, 20)
    torch._dynamo.reset()
    compiled = torch.compile(Dropped(), fullgraph=True, backend="eager")
    for module in (compiled, torch.export.export(Dropped(), (x,)).module()):
        first, second = module(x), module(x)
        assert not torch.equal(first, second)  # No draw became a constant of the graph.
        assert abs(first.mean().item() - 0.5) < 0.1
