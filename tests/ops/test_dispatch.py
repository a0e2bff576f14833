import logging
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch

from mentor_pyg.dependencies import UnavailableError
from mentor_pyg.ops.dispatch import Registry, _log_choice

CPU, CUDA, OTHER = (torch.device(name) for name in ("cpu", "cuda", "meta"))


class Backend(NamedTuple):
    unavailable: Callable[[int], str | None]


def up_to(limit: int) -> Backend:
    return Backend(lambda size: f"{size} is beyond {limit}" if size > limit else None)


@pytest.fixture
def registry() -> Registry[Backend]:
    """Backends of which each takes more than the last; two orders leave one of them out."""
    _log_choice.cache_clear()
    return Registry(
        "divide",
        {"small": up_to(1), "large": up_to(10), "huge": up_to(100)},
        auto={"cpu": ("small", "large"), "cuda": ("large", "small")},
    )


@pytest.mark.parametrize(
    ("device", "size", "expected"),
    [(CPU, 1, "small"), (CPU, 2, "large"), (CUDA, 1, "large"), (OTHER, 1, "small")],
)
def test_auto_takes_the_first_of_the_devices_order(
    registry: Registry[Backend], device: torch.device, size: int, expected: str
) -> None:
    assert registry.choose("auto", device, size) == expected
    assert registry.unavailable("auto", device, size) is None


def test_auto_gives_every_reason_and_tries_nothing_else(registry: Registry[Backend]) -> None:
    message = (
        "backend 'small' cannot run in halves: 50 is beyond 1; "
        "backend 'large' cannot run in halves: 50 is beyond 10"
    )
    assert registry.unavailable("auto", CPU, 50, detail="in halves") == message
    with pytest.raises(UnavailableError, match=f"^{message}$"):
        registry.choose("auto", CPU, 50, detail="in halves")


def test_a_name_runs_or_raises(registry: Registry[Backend]) -> None:
    assert registry.choose("huge", CPU, 50) == "huge"
    with pytest.raises(UnavailableError, match=r"^backend 'small' cannot run: 2 is beyond 1$"):
        registry.choose("small", CPU, 2)


def test_an_unknown_name_lists_those_there_are(registry: Registry[Backend]) -> None:
    known = r"'backend' needs to be 'auto' or one of \['huge', 'large', 'small'\] \(got 'fast'\)"
    with pytest.raises(ValueError, match=known):
        registry.choose("fast", CPU, 1)
    with pytest.raises(ValueError, match=known):
        registry.unavailable("fast", CPU, 1)


def test_a_choice_is_logged_once(
    registry: Registry[Backend], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="mentor_pyg.ops.dispatch"):
        registry.choose("large", CPU, 1)
        registry.unavailable("auto", CPU, 1)
        assert not caplog.messages
        for _ in range(2):
            registry.choose("auto", CPU, 1)
            registry.choose("auto", CPU, 1, detail="in halves")
    assert caplog.messages == [
        "divide(backend='auto') runs 'small' on cpu",
        "divide(backend='auto') runs 'small' on cpu in halves",
    ]
