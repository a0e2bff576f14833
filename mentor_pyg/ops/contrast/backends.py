"""The backends of the softmax over all rows of a table, by name."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from mentor_pyg.ops.contrast import chunked, naive, native_stream, triton_stream
from mentor_pyg.ops.dispatch import Registry
from mentor_pyg.typing import Precision

__all__ = ["CONTRAST_BACKENDS", "ContrastBackend"]


class ContrastBackend(NamedTuple):
    """A way to compute :func:`mentor_pyg.losses.softmax_loss`."""

    cross_entropy: Callable[
        [Tensor, Tensor, Tensor, Tensor | None, Tensor | None, float, Precision, bool], Tensor
    ]
    """``(query, table, target, row, left_out, temperature, precision, unit_rows) -> loss``.

    Of ``query`` ``[B, d]``, ``table`` ``[N, d]`` and ``target`` ``[P]`` it equals
    ``F.cross_entropy((query @ table.t() / temperature)[row], target)``, of float32 or float64.
    ``row`` ``[P]`` names the query of every target; ``None`` stands for one target each.
    ``left_out`` ``[B]`` names a row of the table that the softmax of each query is without;
    ``None`` stands for no row.
    ``unit_rows`` promises that no row is longer than one, so that exponentials may need no shift.
    """
    unavailable: Callable[[Tensor, Precision], str | None]
    """Why the backend cannot run on such rows ``[N, d]``; ``None`` where it can."""


CONTRAST_BACKENDS: Registry[ContrastBackend] = Registry(
    "softmax_loss",
    {
        "native": ContrastBackend(native_stream.cross_entropy, native_stream.unavailable),
        "triton": ContrastBackend(triton_stream.cross_entropy, triton_stream.unavailable),
        "chunked": ContrastBackend(chunked.cross_entropy, chunked.unavailable),
        "naive": ContrastBackend(naive.cross_entropy, naive.unavailable),
    },
    auto={"cpu": ("native", "chunked"), "cuda": ("chunked", "triton")},
)
"""The backends by name. ``"naive"``, which holds all scores, runs if it is asked for."""
