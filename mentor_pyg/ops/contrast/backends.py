"""The backends of the contrast, by name."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from mentor_pyg.ops.contrast import chunked, naive, triton_stream
from mentor_pyg.ops.dispatch import Registry
from mentor_pyg.typing import Precision

__all__ = ["CONTRAST_BACKENDS", "ContrastBackend"]


class ContrastBackend(NamedTuple):
    """A way to compute :func:`mentor_pyg.losses.info_nce`."""

    info_nce: Callable[[Tensor, Tensor, float | Tensor, Precision], Tensor]
    """``(view_a [N, d], view_b [N, d], temperature, precision) -> loss``, in float32 at least.

    A temperature that is a tensor requires a gradient, others come as numbers.
    """
    unavailable: Callable[[Tensor, float | Tensor, Precision], str | None]
    """Why the backend cannot run on such views; ``None`` where it can."""


CONTRAST_BACKENDS: Registry[ContrastBackend] = Registry(
    "info_nce",
    {
        "triton": ContrastBackend(triton_stream.info_nce, triton_stream.unavailable),
        "chunked": ContrastBackend(chunked.info_nce, chunked.unavailable),
        "naive": ContrastBackend(naive.info_nce, naive.unavailable),
    },
    auto={"cpu": ("chunked",), "cuda": ("chunked", "triton")},
)
"""The backends by name. ``"naive"``, which holds all pairs, runs if it is asked for."""
