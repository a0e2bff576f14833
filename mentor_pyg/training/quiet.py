"""Keeps Lightning's notices off the console."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_lightning"]

_NO_NEWS = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Its own use of what torch deprecates.
    "GPU available but not used",  # The device is the caller's choice.
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's tips and notices for a while.

    Other warnings still show, and levels and filters are as before afterwards.
    """
    loggers = [logging.getLogger(name) for name in ("lightning.fabric", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(max(logger.level, logging.WARNING))
    try:
        with warnings.catch_warnings():
            for message in _NO_NEWS:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
