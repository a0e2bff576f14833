"""The Triton kernels behind :mod:`~mentor_pyg.ops.propagation.triton_csr`.

Import them only where Triton is.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# Arguments have no types here: Triton reads annotations, and knows only `constexpr`.

import triton
import triton.language as tl

__all__ = ["add_slots", "sum_segments"]


@triton.jit
def sum_segments(
    table,
    col,
    weight,
    x,
    slots,
    h,
    base,
    total,
    draws,
    seed,
    num_sources,
    num_targets,
    num_slots,
    scale,
    width: tl.constexpr,
    block_edges: tl.constexpr,
    block_width: tl.constexpr,
    noise: tl.constexpr,
):
    """Sum one segment of a row, of one view, over one block of its width.

    Segments that are whole rows are finished here; the sums of the others go to their slots.
    """
    accumulator: tl.constexpr = slots.dtype.element_ty
    view = tl.program_id(1).to(tl.int64)  # In 64 bits, since views x rows x width passes 2^31.
    entry = table + tl.program_id(0).to(tl.int64) * 4
    row = tl.load(entry)
    begin = tl.load(entry + 1)
    end = tl.load(entry + 2)
    slot = tl.load(entry + 3)
    channel = tl.program_id(2) * block_width + tl.arange(0, block_width)
    inside = channel < width
    x += view * num_sources * width

    # Edges stay apart until the end, so that their loads do not wait for each other's sums.
    parts = tl.full((block_edges, block_width), 0, accumulator)
    for first in range(begin, end, block_edges):
        edge = first + tl.arange(0, block_edges)
        exists = edge < end
        source = tl.load(col + edge, mask=exists, other=0).to(tl.int64)
        factor = tl.load(weight + edge, mask=exists, other=0).to(accumulator)
        rows = tl.load(
            x + source[:, None] * width + channel[None, :],
            mask=exists[:, None] & inside[None, :],
            other=0,
        )
        parts += factor[:, None] * rows.to(accumulator)
    acc = tl.sum(parts, axis=0)

    if slot >= 0:
        tl.store(slots + (view * num_slots + slot) * width + channel, acc, mask=inside)
    else:
        offset = (view * num_targets + row) * width + channel
        _finish(acc, offset, inside, h, base, total, draws, seed, scale, noise)


@triton.jit
def add_slots(
    split_row,
    split_ptr,
    slots,
    h,
    base,
    total,
    draws,
    seed,
    num_targets,
    num_slots,
    scale,
    width: tl.constexpr,
    block_slots: tl.constexpr,
    block_width: tl.constexpr,
    noise: tl.constexpr,
):
    """Add the slots of one row, always in the same order, and finish the row."""
    accumulator: tl.constexpr = slots.dtype.element_ty
    view = tl.program_id(1).to(tl.int64)
    row = tl.load(split_row + tl.program_id(0))
    begin = tl.load(split_ptr + tl.program_id(0))
    end = tl.load(split_ptr + tl.program_id(0) + 1)
    channel = tl.program_id(2) * block_width + tl.arange(0, block_width)
    inside = channel < width
    slots += view * num_slots * width

    parts = tl.full((block_slots, block_width), 0, accumulator)
    for first in range(begin, end, block_slots):
        slot = first + tl.arange(0, block_slots)
        parts += tl.load(
            slots + slot.to(tl.int64)[:, None] * width + channel[None, :],
            mask=(slot < end)[:, None] & inside[None, :],
            other=0,
        )
    acc = tl.sum(parts, axis=0)
    offset = (view * num_targets + row) * width + channel
    _finish(acc, offset, inside, h, base, total, draws, seed, scale, noise)


@triton.jit
def _finish(
    acc,
    offset,
    inside,
    h,
    base,
    total,
    draws,
    seed,
    scale,
    noise: tl.constexpr,
):
    """Add the row's noise, and write the row and its sum with ``base``, whichever is wanted.

    ``noise`` is ``"none"``, ``"given"`` in ``draws``, or ``"drawn"`` here. Then the block holds
    the whole row.
    """
    if noise != "none":
        if noise == "given":
            u = tl.load(draws + offset, mask=inside, other=0).to(tl.float32)
        else:
            u = tl.where(inside, tl.rand(tl.load(seed), offset), 0.0)
        length = tl.sqrt(tl.sum(u * u, axis=0))
        step = u / tl.maximum(length, 1e-12) * scale
        acc = tl.where(acc > 0, acc + step, tl.where(acc < 0, acc - step, acc))
    if h is not None:
        tl.store(h + offset, acc.to(h.dtype.element_ty), mask=inside)
    if total is not None:
        acc += tl.load(base + offset, mask=inside, other=0).to(acc.dtype)
        tl.store(total + offset, acc.to(total.dtype.element_ty), mask=inside)
