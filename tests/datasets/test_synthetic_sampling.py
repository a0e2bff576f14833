import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mentor_pyg.datasets.synthetic_sampling import (
    apportion,
    draw_features,
    draw_latent_factors,
    sample_interactions,
)


@settings(max_examples=50, deadline=None)
@given(
    parts=st.lists(
        st.tuples(st.floats(1e-3, 1e3), st.integers(0, 5), st.integers(0, 20)), min_size=1
    ),
    position=st.floats(0, 1),
)
def test_apportion_meets_total_and_bounds(
    parts: list[tuple[float, int, int]], position: float
) -> None:
    share = torch.tensor([part[0] for part in parts], dtype=torch.double)
    low = torch.tensor([part[1] for part in parts])
    high = low + torch.tensor([part[2] for part in parts])
    total = int(low.sum()) + int(position * int((high - low).sum()))
    count = apportion(total, share, low, high)
    assert int(count.sum()) == total
    assert bool(((low <= count) & (count <= high)).all())


def test_apportion_follows_shares() -> None:
    zero = torch.zeros(3, dtype=torch.long)
    share = torch.tensor([1.0, 2.0, 5.0], dtype=torch.double)
    assert apportion(80, share, zero, zero + 100).tolist() == [10, 20, 50]


@pytest.mark.parametrize("total", [2, 10])
def test_apportion_refuses_totals_out_of_bounds(total: int) -> None:
    one = torch.ones(3, dtype=torch.long)
    with pytest.raises(ValueError, match=rf"'total' needs to be from 3 to 9 \(got {total}\)"):
        apportion(total, one.double(), one, 3 * one)


def test_interactions_have_the_degrees_and_follow_affinity() -> None:
    generator = torch.Generator().manual_seed(0)
    user, item = draw_latent_factors(200, 100, generator)
    torch.testing.assert_close(user.norm(dim=1), torch.ones(200))
    torch.testing.assert_close(item.norm(dim=1), torch.ones(100))
    degree = torch.randint(0, 30, (200,), generator=generator)
    edge_index = sample_interactions(user, item, degree, generator)
    assert torch.equal(torch.bincount(edge_index[0], minlength=200), degree)
    assert bool(((edge_index[0] * 100 + edge_index[1]).diff() > 0).all())
    affinity = user @ item.t()
    assert affinity[tuple(edge_index)].mean() > affinity.mean() + 0.2


def test_features_follow_factors() -> None:
    generator = torch.Generator().manual_seed(0)
    _, item = draw_latent_factors(2, 200, generator)
    x, present = draw_features(item, 64, noise=0.4, missing=0.1, generator=generator)
    assert int((~present).sum()) == 20
    unit = torch.nn.functional.normalize(x[present])
    similarity = torch.stack(
        [(unit @ unit.t()).flatten(), (item @ item.t())[present][:, present].flatten()]
    )
    assert torch.corrcoef(similarity)[0, 1] > 0.7
