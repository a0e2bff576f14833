import numpy as np
import pytest
from scipy import stats

from mentor_pyg.experiments.evidence import holm, paired_test


@pytest.fixture
def recalls() -> tuple[np.ndarray, np.ndarray]:
    """Recalls of 400 users of one item each: 0 or 1, averaged over five seeds."""
    rng = np.random.default_rng(3)
    taste = rng.random(400) * 0.4
    return tuple((rng.random((5, 400)) < taste + gain).mean(axis=0) for gain in (0.1, 0.0))


def test_agrees_with_plain_loops(recalls: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = recalls
    found = paired_test(a, b)
    difference = np.round((a - b) * 5) / 5  # Equal differences are equal to the last bit.
    assert found.users == 400
    assert found.difference == pytest.approx(difference.mean())
    rng = np.random.default_rng(1)
    means = [rng.choice(difference, 400).mean() for _ in range(4000)]
    low, high = np.quantile(means, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.002)
    moved = difference[difference != 0]
    assert found.p == pytest.approx(stats.wilcoxon(moved).pvalue)
    larger = [sum(abs(x) > abs(y) for y in moved) + (sum(abs(x) == abs(y) for y in moved) + 1) / 2
              for x in moved]  # fmt: skip
    up = sum(rank for x, rank in zip(moved, larger, strict=True) if x > 0)
    assert found.effect == pytest.approx((2 * up - sum(larger)) / sum(larger))
    assert found.p < 0.01 and found.low > 0 and found.effect > 0


def test_the_other_way_round_is_the_opposite(recalls: tuple[np.ndarray, np.ndarray]) -> None:
    one, other = paired_test(*recalls), paired_test(*recalls[::-1])
    assert one.difference == pytest.approx(-other.difference)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=0.002)
    assert (one.p, one.effect) == pytest.approx((other.p, -other.effect))


def test_is_deterministic(recalls: tuple[np.ndarray, np.ndarray]) -> None:
    assert paired_test(*recalls) == paired_test(*recalls)


def test_equal_models_are_not_told_apart() -> None:
    found = paired_test(np.ones(5), np.ones(5))
    assert (found.difference, found.low, found.high, found.p, found.effect) == (0, 0, 0, 1, 0)


@pytest.mark.parametrize("shapes", [((3,), (4,)), ((0,), (0,)), ((2, 2), (2, 2))])
def test_refuses_users_that_do_not_fit(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="'a' and 'b' need a value for each of the same users"):
        paired_test(*(np.ones(shape) for shape in shapes))


def test_holm() -> None:
    # Worked by hand: .01 * 4, then .02 * 3 and .03 * 2, which may not fall below it, then .2.
    assert holm([0.03, 0.01, 0.2, 0.02]) == pytest.approx([0.06, 0.04, 0.2, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_one_user_is_enough() -> None:
    found = paired_test([0.5], [0.25])
    assert (found.difference, found.low, found.high) == (0.25, 0.25, 0.25)
    assert (found.p, found.effect) == (1, 1)


@pytest.mark.parametrize("users", [90, 40_000])
def test_the_interval_of_few_users_and_of_many(users: int) -> None:
    rng = np.random.default_rng(3)
    values = np.array([-0.4, -0.2, 0.0, 0.2, 1.0])
    difference = rng.choice(values, users, p=[0.1, 0.2, 0.4, 0.2, 0.1])
    found = paired_test(difference, np.zeros(users))
    spread = 1.96 * difference.std() / users**0.5  # The normal limit.
    expected = (difference.mean() - spread, difference.mean() + spread)
    assert (found.low, found.high) == pytest.approx(expected, abs=spread / 10)
