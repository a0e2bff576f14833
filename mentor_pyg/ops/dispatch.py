"""Which implementation of an operation runs: one rule for all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Protocol, TypeVar

import torch

from mentor_pyg.dependencies import UnavailableError

__all__ = ["Registry"]

logger = logging.getLogger(__name__)


class _Backend(Protocol):
    @property
    def unavailable(self) -> Callable[..., str | None]:
        """Why the backend cannot run on some inputs; ``None`` where it can."""


_B = TypeVar("_B", bound=_Backend)


class Registry(dict[str, _B]):
    """The backends of one operation by name, and the rule that chooses among them.

    A backend asked for by name runs or raises with the reason. ``"auto"`` takes the first that
    can run in the order declared for the device, and its choice is logged once. A backend that
    is in no order runs only if it is asked for.

    Args:
        operation: What messages call the operation.
        backends: The backends by name. Each says in ``unavailable(*inputs)`` why it cannot run.
        auto: Per type of device the names that ``"auto"`` tries, in order; the order of
            ``"cpu"`` serves every device without one.
    """

    def __init__(
        self, operation: str, backends: Mapping[str, _B], auto: Mapping[str, Sequence[str]]
    ) -> None:
        super().__init__(backends)
        self.operation = operation
        self.auto = auto

    def choose(self, backend: str, device: torch.device, *inputs: Any, detail: str = "") -> str:
        """Return the name of the backend to run.

        Args:
            backend: A name, or ``"auto"``.
            device: The device of the inputs.
            *inputs: What the backends' ``unavailable`` is asked of.
            detail: What else was asked for, for messages: ``"with precision 'bf16'"``.

        Raises:
            ValueError: If there is no such backend.
            UnavailableError: If it cannot run, or under ``"auto"`` none of those tried can.
        """
        reasons = self._reasons(backend, device, *inputs)
        for name, reason in reasons.items():
            if reason is None:
                if backend == "auto" and not torch.compiler.is_compiling():
                    _log_choice(self.operation, name, device.type, detail)
                return name
        raise UnavailableError(_listed(reasons, detail))

    def unavailable(
        self, backend: str, device: torch.device, *inputs: Any, detail: str = ""
    ) -> str | None:
        """Return the message with which :meth:`choose` would raise, or ``None``.

        Raises:
            ValueError: If there is no such backend.
        """
        reasons = self._reasons(backend, device, *inputs)
        return None if None in reasons.values() else _listed(reasons, detail)

    def _reasons(self, backend: str, device: torch.device, *inputs: Any) -> dict[str, str | None]:
        """Return why each backend that comes into question cannot run, up to one that can."""
        tried: Sequence[str] = (backend,)
        if backend == "auto":
            tried = self.auto.get(device.type, self.auto["cpu"])
        elif backend not in self:
            raise ValueError(
                f"'backend' needs to be 'auto' or one of {sorted(self)} (got {backend!r})"
            )
        reasons: dict[str, str | None] = {}
        for name in tried:
            reasons[name] = self[name].unavailable(*inputs)
            if reasons[name] is None:
                break
        return reasons


def _listed(reasons: Mapping[str, str | None], detail: str) -> str:
    cannot = " ".join(("cannot run", detail)).strip()
    return "; ".join(f"backend {name!r} {cannot}: {reason}" for name, reason in reasons.items())


@cache
def _log_choice(operation: str, backend: str, device: str, detail: str) -> None:
    choice = " ".join((f"{operation}(backend='auto') runs '{backend}' on {device}", detail))
    logger.info("%s", choice.strip())
