"""The random numbers of a training step."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mentor_pyg.ops import Noise, uniform_like

__all__ = ["Draws"]


class Draws:
    """The random numbers of one step by name: fresh ones, or those that a caller recorded.

    Fresh ones follow ``torch.manual_seed``. A model asks for each number it needs under a name of
    its own, so that a test or a comparison with other code can fix any of them.

    Args:
        recorded: Tensors to use in place of fresh ones, by name; see the model for its names.
    """

    def __init__(self, recorded: Mapping[str, Tensor] | None = None) -> None:
        self.recorded = dict(recorded or {})

    def uniform(self, name: str, like: Tensor) -> Tensor:
        """Return draws from U[0, 1) of the shape, dtype and device of ``like``."""
        return self.recorded[name] if name in self.recorded else uniform_like(like)

    def keep(self, name: str, like: Tensor, drop_ratio: float) -> Tensor:
        """Return which entries are kept, bool of the shape of ``like``, where some are dropped."""
        return self.recorded[name] if name in self.recorded else uniform_like(like) >= drop_ratio

    def noise(self, name: str, scale: float) -> Noise:
        """Return noise of a length; the operation that adds it draws it, unless it is recorded."""
        return Noise(scale, self.recorded.get(name))
