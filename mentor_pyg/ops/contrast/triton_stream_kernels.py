"""The kernels behind :mod:`mentor_pyg.ops.contrast.triton_stream`; import only where Triton is.

Rows beyond their number, up to ``padded`` ones, and columns beyond ``width``, up to
``block_width``, are padding, so that the loop over all pairs needs no masks.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# Arguments have no types here: Triton reads annotations, and knows only `constexpr`.

import triton
import triton.language as tl

from mentor_pyg.dependencies import triton_is_interpreted

__all__ = ["form_gradient", "form_losses", "pad_rows", "sum_weighted_rows"]

_LOG2_E: tl.constexpr = tl.constexpr(1.4426950408889634)
_LN_2: tl.constexpr = tl.constexpr(0.6931471805599453)
_INTERPRETED: tl.constexpr = tl.constexpr(triton_is_interpreted())


@triton.jit
def _nearest(x, dropped: tl.constexpr):
    """Round to values whose last ``dropped`` bits are zero."""
    bits = x.to(tl.int32, bitcast=True) + (1 << (dropped - 1))
    return (bits & -(1 << dropped)).to(tl.float32, bitcast=True)


@triton.jit
def _factor(x, precision: tl.constexpr):
    """Round ``x`` to what products of this precision are made of."""
    if precision == "tf32":
        x = _nearest(x, 13)  # Tensor cores would cut these bits off.
    if precision == "bf16":
        if _INTERPRETED:
            x = _nearest(x, 16)  # The interpreter would cut them off where a GPU rounds.
        x = x.to(tl.bfloat16)
    return x


@triton.jit
def _add_product(total, x, y, precision: tl.constexpr):
    """Return ``total + x @ y``, summed in float32."""
    if precision == "bf16":
        if _INTERPRETED:  # The interpreter would multiply the bits as integers.
            x, y = x.to(tl.float32), y.to(tl.float32)
        total = tl.dot(x, y, total)
    else:
        total = tl.dot(x, y, total, input_precision=precision)
    return total


@triton.jit
def _load_rows(table, rows, live, width, block_width: tl.constexpr):
    """Return rows of a table, zero where they are not live and beyond its width."""
    cols = tl.arange(0, block_width)
    at = rows.to(tl.int64)[:, None] * width + cols[None, :]
    return tl.load(table + at, mask=live[:, None] & (cols < width)[None, :], other=0.0)


@triton.jit
def pad_rows(
    table,  # [num_rows, width]
    padded,  # [padded, block_width]
    num_rows,
    width,
    precision: tl.constexpr,
    block_rows: tl.constexpr,
    block_width: tl.constexpr,
):
    """Write rows as factors of this precision, and zeros in the padding."""
    rows = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    x = _load_rows(table, rows, rows < num_rows, width, block_width)
    at = rows.to(tl.int64)[:, None] * block_width + tl.arange(0, block_width)[None, :]
    tl.store(padded + at, _factor(x, precision))


@triton.jit
def _add_product_by_parts(
    total, x, y, precision: tl.constexpr, part: tl.constexpr, width: tl.constexpr
):
    """Return ``total + x @ y.T``, of pointers to first columns: all at once spill registers."""
    cols = tl.arange(0, part)[None, :]
    for start in range(0, width, part):
        x_part = tl.load(x + start + cols)
        y_part = tl.load(y + start + cols)
        total = _add_product(total, x_part, tl.trans(y_part), precision)
    return total


@triton.jit
def sum_weighted_rows(
    owner,  # [owners, block_width]
    stream,  # [streamed, block_width]
    turned,  # [block_width, streamed], the stream transposed, if is_turned
    owner_name,  # [owners]
    stream_name,  # [streamed]
    offset,  # [streamed], infinite in the padding
    total,  # [splits, owners]
    weighted,  # [splits, owners, block_width]
    greatest,  # [splits, owners], if is_running
    owners,
    streamed,
    rows_per_split,
    scale,
    with_totals: tl.constexpr,
    with_rows: tl.constexpr,
    is_running: tl.constexpr,
    is_turned: tl.constexpr,
    precision: tl.constexpr,
    block_rows: tl.constexpr,
    block_others: tl.constexpr,
    part: tl.constexpr,
    block_width: tl.constexpr,
):
    """Sum ``w_ij = 2^(scale x_i.y_j - offset_j)`` and ``w_ij y_j`` over the ``j`` of a split.

    A program owns rows ``x_i`` and streams the split's rows ``y_j``. Pairs of one name, which are
    those of a query and its target, are left out: they are added in float32 at the end, so that
    no rounding of a product reaches them, and a gradient is no difference of near equals where
    they outweigh all the rest. Where scores have no bound, sums are held relative to the greatest
    so far, and that is written beside them.
    """
    rows = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    split = tl.program_id(1)
    cols = tl.arange(0, block_width)
    x_at = owner + rows.to(tl.int64)[:, None] * block_width
    x = tl.load(x_at + cols[None, :]) if part == block_width else x_at
    names = tl.load(owner_name + rows)
    totals = tl.zeros([block_rows], tl.float32)
    sums = tl.zeros([block_rows, block_width], tl.float32)
    top = tl.full([block_rows], float("-inf"), tl.float32)
    first = split * rows_per_split
    last = tl.minimum(first + rows_per_split, streamed)
    for start in range(first, last, block_others):
        others = start + tl.arange(0, block_others)
        offsets = tl.load(offset + others)
        other_names = tl.load(stream_name + others)
        y_at = stream + others.to(tl.int64)[:, None] * block_width
        score = tl.zeros([block_rows, block_others], tl.float32)
        if part == block_width:
            y = tl.load(y_at + cols[None, :])
            score = _add_product(score, x, tl.trans(y), precision)
        else:
            score = _add_product_by_parts(score, x, y_at, precision, part, block_width)
            y = tl.load(y_at + cols[None, :])
        score = score * scale - offsets[None, :]
        score = tl.where(names[:, None] == other_names[None, :], float("-inf"), score)
        if is_running:
            before, top = top, tl.maximum(top, tl.max(score, 1))
            shift = tl.where(top == float("-inf"), 0.0, top)
            kept = tl.exp2(before - shift)
            totals *= kept
            sums *= kept[:, None]
            score -= shift[:, None]
        weight = tl.exp2(score)
        if with_totals:
            totals += tl.sum(weight, 1)
        if with_rows:
            if is_turned:
                # TF32 tensor cores want the summed-over index last: this tile needs no turning.
                at = cols.to(tl.int64)[:, None] * streamed + others[None, :]
                y = tl.trans(tl.load(turned + at))
            sums = _add_product(sums, _factor(weight, precision), y, precision)
    out = split.to(tl.int64) * owners + rows
    if with_totals:
        tl.store(total + out, totals)
    if is_running:
        tl.store(greatest + out, top)
    if with_rows:
        tl.store(weighted + out[:, None] * block_width + cols[None, :], sums)


@triton.jit
def form_losses(
    query,  # [num_rows, width]
    table,  # [.., width]
    target,  # [num_rows]
    total,  # [splits, padded]
    greatest,  # [splits, padded], if is_running
    loss,  # [num_rows]
    offset,  # [padded]
    rest,  # [num_rows]
    share,  # [splits, padded]
    num_rows,
    padded,
    splits,
    width,
    scale,
    is_running: tl.constexpr,
    block_rows: tl.constexpr,
    block_width: tl.constexpr,
):
    """Add the targets to the totals; write per query its loss and what gradients need.

    That is the binary logarithm of its softmax's denominator (infinite in the padding), the
    probability of all rows but its target, and what makes a split's sums a part of the softmax.
    """
    rows = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    live = rows < num_rows
    x = _load_rows(query, rows, live, width, block_width)
    at = tl.load(target + rows, mask=live, other=0)
    y = _load_rows(table, at, live, width, block_width)
    positive = tl.sum(x * y, 1) * scale
    top = tl.zeros([block_rows], tl.float32) + scale  # Of unit rows no score is above it.
    if is_running:
        top = tl.full([block_rows], float("-inf"), tl.float32)
        for split in range(splits):
            top = tl.maximum(top, tl.load(greatest + split * padded + rows))
        top = tl.where(top == float("-inf"), 0.0, top)
    negatives = tl.zeros([block_rows], tl.float32)
    for split in range(splits):
        part = tl.load(total + split * padded + rows)
        if is_running:
            part *= tl.exp2(tl.load(greatest + split * padded + rows) - top)
        negatives += part
    # The loss is softplus(gap), gap being log(sum over all others) - log(target).
    gap = tl.log2(negatives) + (top - positive)
    small = tl.exp2(-tl.abs(gap))
    # log(1 + small), without losing its last bits where small is small.
    near_one = 1.0 + small
    log_near_one = tl.log(near_one) * (small / tl.where(near_one == 1.0, 1.0, near_one - 1.0))
    value = tl.maximum(gap, 0.0) * _LN_2 + tl.where(near_one == 1.0, small, log_near_one)
    tl.store(loss + rows, value, mask=live)
    tl.store(offset + rows, tl.where(live, positive + value * _LOG2_E, float("inf")))
    tl.store(rest + rows, 1.0 / (1.0 + tl.exp2(-gap)), mask=live)
    inverse = 1.0 / (negatives + tl.exp2(positive - top))
    for split in range(splits):
        part = inverse
        if is_running:
            part *= tl.exp2(tl.load(greatest + split * padded + rows) - top)
        tl.store(share + split * padded + rows, part)


@triton.jit
def form_gradient(
    weighted,  # [splits, padded, block_width]
    share,  # [splits, padded], if is_shared
    positive,  # [num_rows, width]
    grad,  # [num_rows, width]
    num_rows,
    padded,
    splits,
    width,
    factor,
    is_shared: tl.constexpr,
    block_rows: tl.constexpr,
    block_width: tl.constexpr,
):
    """Add up the splits in their order, take the targets' part off, and scale."""
    rows = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    live = rows < num_rows
    cols = tl.arange(0, block_width)
    at = rows.to(tl.int64)[:, None] * block_width + cols[None, :]
    g = tl.zeros([block_rows, block_width], tl.float32)
    for split in range(splits):
        part = tl.load(weighted + at)
        if is_shared:
            part *= tl.load(share + split * padded + rows)[:, None]
        g += part
        weighted += padded.to(tl.int64) * block_width
    g = (g - _load_rows(positive, rows, live, width, block_width)) * factor
    mask = live[:, None] & (cols < width)[None, :]
    tl.store(grad + rows.to(tl.int64)[:, None] * width + cols[None, :], g, mask=mask)
