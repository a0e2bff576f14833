"""What a measurement is: the setting it runs in, the case, and the work that gets timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["CannotRunError", "Case", "Setting", "Work"]


class CannotRunError(Exception):
    """A case that this machine or backend cannot run; the message says why."""


@dataclass(frozen=True)
class Setting:
    """What all cases of a run share.

    Args:
        dataset: The file that holds the dataset, see :func:`dataset.load`.
        name: The dataset by name, for the report.
        num_users: The number of users.
        num_items: The number of items.
        channels: Per modality the width of its features.
        device: ``"cpu"`` or ``"cuda"``.
        threads: CPU threads.
        repeats: The most samples that are taken of a case's time.
        budget: Seconds after which a case's samples end.
        longest: Seconds that one call may take; what would take longer is not run.
        epoch_steps: Training steps that an epoch's time is estimated from; 0 runs the epoch.
        profile: Where traces of the training step go, if anywhere.
    """

    dataset: Path
    name: str
    num_users: int
    num_items: int
    channels: Mapping[str, int]
    device: str = "cpu"
    threads: int = 1
    repeats: int = 9
    budget: float = 2.0
    longest: float = 40.0
    epoch_steps: int = 5
    profile: Path | None = None


@dataclass(frozen=True)
class Work:
    """One case, built and ready to be timed.

    Args:
        run: The function to time. The first call is measured for its memory.
        check: Takes what the first call returned, compares with a reference and says what it
            compared; raises an ``AssertionError`` where they differ, and then nothing is timed.
        gflop: Floating-point operations of a call, in 10^9, where they can be counted.
        gbyte: Bytes that a call has to move, in 10^9, counted as :mod:`counts` says.
        precision: Which measured peak the operations are held against.
        scale: Times that ``run`` is what the case is named after.
        facts: Numbers that the report needs, such as where on a scaling curve the case lies.
    """

    run: Callable[[], object]
    check: Callable[[Any], str]
    gflop: float | None = None
    gbyte: float | None = None
    precision: str = "ieee"
    scale: float = 1.0
    facts: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One row of the report.

    Args:
        suite: The suite it belongs to.
        name: What is measured. Cases of one name are compared with each other.
        backend: How it is computed; ``"naive"`` is what the others are compared with.
        prepare: Builds the work, in the process that measures it. Has to be picklable.
        cannot_run: Why the case is not worth a process, where that is known beforehand.
    """

    suite: str
    name: str
    backend: str
    prepare: Callable[[Setting], Work]
    cannot_run: str | None = None
