"""C++ kernels for CPUs: a row's product, its noise and the layer sum in one go; dots along edges.

They have to be compiled once, by :mod:`mentor_pyg.ops.compile_native`; until then,
``backend="auto"`` runs torch's own kernel.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops.native import NativeLibrary, pointer
from mentor_pyg.ops.propagation.compact_index import compact_index, fits_in_32_bits
from mentor_pyg.ops.propagation.noise import Noise

__all__ = ["LIBRARY", "edge_dots", "layer", "product", "unavailable"]

LIBRARY = NativeLibrary(Path(__file__).with_suffix(".cpp"))
_REAL = {torch.float32: ctypes.c_float, torch.float64: ctypes.c_double}
_MAX_SEED = 2**63 - 1


def unavailable(adjacency: Adjacency, x: Tensor) -> str | None:
    """Return why the backend cannot run on these inputs, or ``None``."""
    if x.device.type != "cpu":
        return f"the native kernel runs on the CPU only (got {x.device.type})"
    if x.dtype not in _REAL or x.dtype != adjacency.weight.dtype:
        got = f"{x.dtype} and {adjacency.weight.dtype}"
        return f"the native kernel needs x and weights both float32 or both float64 (got {got})"
    if not fits_in_32_bits(adjacency):
        return "the native kernel counts edges and nodes in 32 bits"
    return LIBRARY.unavailable


def product(adjacency: Adjacency, x: Tensor) -> Tensor:
    """Equal ``adjacency.to_dense() @ x`` per slab."""
    x = x.contiguous()
    out = x.new_empty(*x.shape[:-2], adjacency.num_targets, x.size(-1))
    for view in range(x.size(0)) if x.dim() == 3 else (...,):
        _run(adjacency, x[view], out[view])
    return out


def layer(
    adjacency: Adjacency, h: Tensor, base: Tensor, noise: Noise | None, keep: bool
) -> tuple[Tensor, Tensor]:
    """Return one layer and its sum with ``base``: see :data:`~mentor_pyg.ops.FusedLayer`."""
    total = torch.empty_like(base, memory_format=torch.contiguous_format)
    kept = torch.empty_like(total) if keep else total
    base, h = base.contiguous(), h.contiguous()
    draws = None if noise is None or noise.draws is None else noise.draws.to(h.dtype).contiguous()
    for view in range(h.size(0)) if h.dim() == 3 else (...,):
        _run(
            adjacency,
            h[view],
            kept[view] if keep else None,
            sums=(base[view], total[view]),
            noise=None
            if noise is None
            else Noise(noise.scale, None if draws is None else draws[view]),
        )
    return kept, total


def edge_dots(adjacency: Adjacency, at_target: Tensor, at_source: Tensor) -> Tensor:
    """Return the dot product of the rows at the ends of every edge, summed over slabs."""
    y, x = at_target.contiguous(), at_source.contiguous()
    views = range(x.size(0)) if x.dim() == 3 else (...,)
    found = [_edge_dots(adjacency, y[view], x[view]) for view in views]
    return found[0] if len(found) == 1 else torch.stack(found).sum(dim=0)


def _edge_dots(adjacency: Adjacency, y: Tensor, x: Tensor) -> Tensor:
    out = x.new_empty(adjacency.num_edges)
    rowptr, col = adjacency.layout(compact_index)
    function = _function("edge_dots", x.dtype)
    function(
        ctypes.c_int64(adjacency.num_targets),
        ctypes.c_int64(x.size(1)),
        pointer(rowptr),
        pointer(col),
        pointer(y),
        pointer(x),
        pointer(out),
        ctypes.c_int(torch.get_num_threads()),
    )
    return out


def _function(name: str, dtype: torch.dtype) -> Any:
    library = LIBRARY.loaded
    assert isinstance(library, ctypes.CDLL)  # `unavailable` has been asked.
    return getattr(library, f"{name}_{str(dtype).removeprefix('torch.')}")


def _run(
    adjacency: Adjacency,
    x: Tensor,
    out: Tensor | None,
    sums: tuple[Tensor, Tensor] | None = None,
    noise: Noise | None = None,
) -> None:
    """Fill ``out`` and the second of ``sums``, all contiguous and of one type."""
    base, total = sums or (None, None)
    draws, seed = None, 0
    if noise is not None:
        draws = noise.draws
        if draws is None:
            seed = int(torch.randint(_MAX_SEED, ()))
    real = _REAL[x.dtype]
    function = _function("layer", x.dtype)
    rowptr, col = adjacency.layout(compact_index)
    function(
        ctypes.c_int64(adjacency.num_targets),
        ctypes.c_int64(x.size(1)),
        pointer(rowptr),
        pointer(col),
        pointer(adjacency.weight),
        pointer(x),
        pointer(base),
        pointer(out),
        pointer(total),
        ctypes.c_int(noise is not None),
        pointer(draws),
        real(0 if noise is None else noise.scale),
        ctypes.c_uint64(seed),
        ctypes.c_int(torch.get_num_threads()),
    )
