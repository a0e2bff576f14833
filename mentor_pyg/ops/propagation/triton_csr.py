"""Triton kernels for the product: any number of slabs in one launch, noise and sums on the way.

The kernels differ from the other backends' in three ways. Long rows are cut up, so that items
that everybody buys do not hold up the rest; their partial sums are added in a fixed order, so
results are the same bit for bit every time. Half precision is a way to store rows: sums are
taken in float32. And :func:`layer` adds noise and the sum over layers while the row is at hand.

On the CPU, where Triton compiles nothing, its interpreter runs the kernels in Python if
``TRITON_INTERPRET=1`` is set before Triton is first imported (importing PyG does that). It is
far too slow for anything but tests.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mentor_pyg.dependencies import can_import, triton_is_interpreted
from mentor_pyg.graph import Adjacency
from mentor_pyg.ops.propagation.compact_index import compact_index
from mentor_pyg.ops.propagation.noise import Noise, add_noise
from mentor_pyg.ops.propagation.segments import RowSegments, split_rows

__all__ = ["layer", "product", "row_segments", "unavailable"]

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_MAX_INDEX = 2**31 - 1024  # The last block of a row counts past the row's end.
_MAX_VIEWS = 2**16 - 1  # CUDA's limit for the second dimension of a grid.
_MAX_BLOCK_WIDTH = 128
_MAX_NOISE_WIDTH = 512
"""A row's noise is scaled by its length, so one program has to hold the whole row."""


def unavailable(adjacency: Adjacency, x: Tensor) -> str | None:
    """Return why the backend cannot run on these inputs, or ``None``.

    ``None`` for tensors on the CPU means that Triton's interpreter was asked for, not that the
    backend is any good there: ``"auto"`` needs to try the others first.
    """
    if not can_import("triton.language"):
        return "triton is not installed, or does not import; pip install triton"
    return _wrong_device(adjacency, x) or _wrong_dtype(adjacency, x) or _too_big(adjacency, x)


def _wrong_device(adjacency: Adjacency, x: Tensor) -> str | None:
    if x.device.type != "cuda" and not (x.device.type == "cpu" and triton_is_interpreted()):
        return (
            f"triton needs a CUDA device, or TRITON_INTERPRET=1 in the environment before the "
            f"program starts (got x on {x.device})"
        )
    if adjacency.device != x.device:
        return (
            f"the adjacency is on {adjacency.device} and x on {x.device}; "
            f"move it with adjacency.to(x.device)"
        )
    return None


def _wrong_dtype(adjacency: Adjacency, x: Tensor) -> str | None:
    for name, dtype in (("x", x.dtype), ("weights", adjacency.weight.dtype)):
        if dtype not in _DTYPES:
            return f"triton's kernels take no {name} of {dtype}"
    return None


def _too_big(adjacency: Adjacency, x: Tensor) -> str | None:
    largest = max(adjacency.num_edges, adjacency.num_sources, adjacency.num_targets)
    if largest > _MAX_INDEX:
        return f"triton's kernels count nodes and edges in 32 bits (got {largest})"
    if x.dim() == 3 and x.size(0) > _MAX_VIEWS:
        return f"triton's kernels take at most {_MAX_VIEWS} slabs at once (got {x.size(0)})"
    return None


def row_segments(adjacency: Adjacency) -> RowSegments:
    """Return the rows, long ones cut up; a layout."""
    return split_rows(adjacency.rowptr)


def product(adjacency: Adjacency, x: Tensor) -> Tensor:
    """Equal ``adjacency.to_dense().to(x.dtype) @ x`` per slab.

    Products are summed in float32 (float64 for float64 input), whatever ``x`` is stored in.
    """
    out = x.new_empty(*x.shape[:-2], adjacency.num_targets, x.size(-1))
    _launch(adjacency, x, out)
    return out


def layer(
    adjacency: Adjacency, h: Tensor, base: Tensor, noise: Noise | None, keep: bool
) -> tuple[Tensor, Tensor]:
    """Return ``h' = add_noise(adjacency @ h, noise)`` and ``base + h'``, in one pass over ``h'``.

    The noise and the sum are taken in float32 before they are rounded to the dtype of ``h``.
    Noise that is not given is drawn by a counter-based generator. Its seed comes from torch's
    generator of the device, on the device: ``torch.manual_seed`` governs it, nothing waits for
    it, and a CUDA graph draws anew at every replay.

    Args:
        adjacency: The matrix.
        h: The rows ``[num_sources, d]``, or slabs of them ``[views, num_sources, d]``.
        base: What to add the result to ``[..., num_targets, d]``.
        noise: What to add to each row of the product.
        keep: Whether ``h'`` is wanted; if not, it is not written, and ``base + h'`` stands in.
    """
    if noise is not None and (h.size(-1) > _MAX_NOISE_WIDTH or h.dtype == torch.float64):
        h = add_noise(product(adjacency, h), noise)
        return h, base + h
    total = h.new_empty(*h.shape[:-2], adjacency.num_targets, h.size(-1))
    kept = torch.empty_like(total) if keep else None
    _launch(adjacency, h, kept, base, total, noise)
    return total if kept is None else kept, total


def _launch(
    adjacency: Adjacency,
    x: Tensor,
    h: Tensor | None,
    base: Tensor | None = None,
    total: Tensor | None = None,
    noise: Noise | None = None,
) -> None:
    """Write ``noise(adjacency @ x)`` to ``h`` and its sum with ``base`` to ``total``."""
    # Here, since a plain install has no Triton.
    from mentor_pyg.ops.propagation import triton_csr_kernels as kernels

    views, width = x.size(0) if x.dim() == 3 else 1, x.size(-1)
    if views * adjacency.num_targets * width == 0:
        return
    segments = adjacency.layout(row_segments)
    kind, draws, seed = _noise_source(noise, x)
    finish = (h, None if base is None else base.contiguous(), total, draws, seed)
    scale = 0.0 if noise is None else noise.scale
    block_edges, block_width, warps = _block_sizes(width, whole_rows=noise is not None)
    tile = {"width": width, "block_width": block_width, "noise": kind}
    options = {"num_warps": warps, "num_stages": 1}
    # The partial sums' dtype is that of all sums.
    accumulator = torch.float64 if x.dtype == torch.float64 else torch.float32
    slots = x.new_empty(views, segments.num_slots, width, dtype=accumulator)
    with torch.cuda.device_of(x):  # Triton launches on the current device.
        kernels.sum_segments[segments.table.size(0), views, -(-width // block_width)](
            segments.table,
            adjacency.layout(compact_index).col,
            adjacency.weight,
            x.contiguous(),
            slots,
            *finish,
            adjacency.num_sources,
            adjacency.num_targets,
            segments.num_slots,
            scale,
            block_edges=block_edges,
            **tile,
            **options,
        )
        if segments.num_slots:
            kernels.add_slots[segments.split_row.numel(), views, -(-width // block_width)](
                segments.split_row,
                segments.split_ptr,
                slots,
                *finish,
                adjacency.num_targets,
                segments.num_slots,
                scale,
                block_slots=block_edges,
                **tile,
                **options,
            )


def _noise_source(noise: Noise | None, x: Tensor) -> tuple[str, Tensor | None, Tensor | None]:
    if noise is None:
        return "none", None, None
    if noise.draws is not None:
        return "given", noise.draws.contiguous(), None
    return "drawn", None, torch.randint(2**63 - 1, (), device=x.device)


def _block_sizes(width: int, *, whole_rows: bool) -> tuple[int, int, int]:
    """Return the edges and the channels of a tile, and the warps that share it.

    What takes time is to wait for memory, so a tile fetches the rows of all edges at once for
    the ten or so that most rows of an interaction graph have. A warp holds up to 1024 numbers,
    32 a thread; with more, fewer warps would fit on the device.
    """
    block_width = 1 << (width - 1).bit_length()
    if not whole_rows:
        block_width = min(block_width, _MAX_BLOCK_WIDTH)
    block_edges = 16 if block_width <= 64 else 8
    return block_edges, block_width, max(1, block_edges * block_width // 1024)
