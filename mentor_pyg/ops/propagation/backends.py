"""The backends of propagation, by name."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from torch import Tensor

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops.dispatch import Registry
from mentor_pyg.ops.propagation import (
    edge_index,
    naive,
    native_csr,
    scatter,
    torch_csr,
    triton_csr,
)
from mentor_pyg.ops.propagation.gathered import gathered_edge_dots
from mentor_pyg.ops.propagation.noise import Noise

__all__ = ["BACKENDS", "Backend", "FusedLayer"]

FusedLayer: TypeAlias = Callable[
    [Adjacency, Tensor, Tensor, Noise | None, bool], tuple[Tensor, Tensor]
]
"""``(adjacency, h, base, noise, keep) -> (h', base + h')`` with ``h' = noise(adjacency @ h)``.

Writes to none of its arguments. Where ``keep`` is false, the first result is not used and may be
any tensor.
"""


class Backend(NamedTuple):
    """A way to compute ``adjacency @ x``. It knows nothing of gradients: those are products too."""

    product: Callable[[Adjacency, Tensor], Tensor]
    """``(adjacency, x [..., num_sources, d]) -> [..., num_targets, d]``."""
    unavailable: Callable[[Adjacency, Tensor], str | None]
    """Why the backend cannot run on these inputs; ``None`` where it can."""
    layer: FusedLayer | None = None
    """One layer with its noise and sum, where the backend has a kernel for all of it."""
    edge_dots: Callable[[Adjacency, Tensor, Tensor], Tensor] = gathered_edge_dots
    """``(adjacency, at_target [..., num_targets, d], at_source [..., num_sources, d]) ->
    [num_edges]``, summed over slabs: the gradient of a product in the weights."""


BACKENDS: Registry[Backend] = Registry(
    "propagate",
    {
        "native": Backend(
            native_csr.product, native_csr.unavailable, native_csr.layer, native_csr.edge_dots
        ),
        "torch_csr": Backend(torch_csr.product, torch_csr.unavailable),
        "edge_index": Backend(edge_index.product, edge_index.unavailable),
        "scatter": Backend(scatter.product, scatter.unavailable),
        "naive": Backend(naive.product, naive.unavailable),
        "triton": Backend(triton_csr.product, triton_csr.unavailable, triton_csr.layer),
    },
    auto={"cpu": ("native", "torch_csr", "scatter", "naive")},
)
"""The backends by name. ``"naive"`` can always run; ``"triton"`` runs if it is asked for."""
