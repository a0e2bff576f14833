import pytest
import torch
import torch.nn.functional as F

from mentor_pyg.ops import Noise, add_noise


def test_no_noise_gives_the_rows_back() -> None:
    h = torch.randn(3, 2)
    assert add_noise(h, None) is h


@pytest.mark.parametrize("shape", [(20, 5), (2, 20, 5)], ids=str)
def test_injected_draws_point_away_from_zero_with_the_length_asked_for(
    shape: tuple[int, ...],
) -> None:
    h, draws = torch.randn(shape), torch.rand(shape)
    expected = h + h.sign() * F.normalize(draws, dim=-1) * 0.3
    assert torch.equal(add_noise(h, Noise(0.3, draws)), expected)


def test_draws_follow_the_seed() -> None:
    h = torch.randn(20, 5)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(add_noise(h, Noise(0.3)))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
