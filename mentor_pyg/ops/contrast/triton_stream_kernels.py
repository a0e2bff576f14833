"""The kernels behind :mod:`mentor_pyg.ops.contrast.triton_stream`; import only where Triton is.

Rows beyond ``num_rows``, up to ``num_padded``, and columns beyond ``width``, up to
``block_width``, are padding, so that the loop over all pairs needs no masks.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# Arguments have no types here: Triton reads annotations, and knows only `constexpr`.

import triton
import triton.language as tl

from mentor_pyg.dependencies import triton_is_interpreted

__all__ = ["form_gradient", "form_losses", "normalize_rows", "sum_weighted_rows"]

_EPSILON: tl.constexpr = tl.constexpr(1e-12)
"""Norms below it count as it, as in ``torch.nn.functional.normalize``."""

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
def _load_view(view, rows, num_rows, width, block_width: tl.constexpr):
    """Return rows of a view in float32, zero beyond it."""
    cols = tl.arange(0, block_width)
    mask = (rows < num_rows)[:, None] & (cols < width)[None, :]
    at = rows.to(tl.int64)[:, None] * width + cols[None, :]
    return tl.load(view + at, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def normalize_rows(
    view,  # [num_rows, width]
    unit,  # [num_padded, block_width]
    norm,  # [num_padded]
    num_rows,
    width,
    precision: tl.constexpr,
    block_rows: tl.constexpr,
    block_width: tl.constexpr,
):
    """Write unit rows as factors of this precision, and the norms; zeros in the padding."""
    rows = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    x = _load_view(view, rows, num_rows, width, block_width)
    length = tl.sqrt(tl.sum(x * x, 1))
    x /= tl.maximum(length, _EPSILON)[:, None]
    at = rows.to(tl.int64)[:, None] * block_width + tl.arange(0, block_width)[None, :]
    tl.store(unit + at, _factor(x, precision))
    tl.store(norm + rows, length)


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
    owner,  # [num_padded, block_width]
    stream,  # [num_padded, block_width]
    turned,  # [block_width, num_padded], the stream transposed, if is_turned
    offset,  # [num_padded], infinite in the padding
    total,  # [splits, num_padded]
    weighted,  # [splits, num_padded, block_width]
    num_padded,
    rows_per_split,
    scale,
    with_totals: tl.constexpr,
    with_rows: tl.constexpr,
    is_turned: tl.constexpr,
    precision: tl.constexpr,
    block_rows: tl.constexpr,
    block_others: tl.constexpr,
    part: tl.constexpr,
    block_width: tl.constexpr,
):
    """Sum ``w_ij = 2^(scale x_i.y_j - offset_j)`` and ``w_ij y_j`` over the ``j`` of a split.

    A program owns rows ``x_i`` and streams the split's rows ``y_j``. The positives ``j = i`` are
    left out: they are added in float32 at the end, so that no rounding of a product reaches them,
    and a gradient is no difference of near equals where they outweigh all the rest.
    """
    rows = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    split = tl.program_id(1)
    cols = tl.arange(0, block_width)
    x_at = owner + rows.to(tl.int64)[:, None] * block_width
    x = tl.load(x_at + cols[None, :]) if part == block_width else x_at
    totals = tl.zeros([block_rows], tl.float32)
    sums = tl.zeros([block_rows, block_width], tl.float32)
    first = split * rows_per_split
    last = tl.minimum(first + rows_per_split, num_padded)
    for start in range(first, last, block_others):
        others = start + tl.arange(0, block_others)
        offsets = tl.load(offset + others)
        y_at = stream + others.to(tl.int64)[:, None] * block_width
        score = tl.zeros([block_rows, block_others], tl.float32)
        if part == block_width:
            y = tl.load(y_at + cols[None, :])
            score = _add_product(score, x, tl.trans(y), precision)
        else:
            score = _add_product_by_parts(score, x, y_at, precision, part, block_width)
            y = tl.load(y_at + cols[None, :])
        weight = tl.exp2(score * scale - offsets[None, :])
        weight = tl.where(rows[:, None] == others[None, :], 0.0, weight)
        if with_totals:
            totals += tl.sum(weight, 1)
        if with_rows:
            if is_turned:
                # TF32 tensor cores want the summed-over index last: this tile needs no turning.
                at = cols.to(tl.int64)[:, None] * num_padded + others[None, :]
                y = tl.trans(tl.load(turned + at))
            sums = _add_product(sums, _factor(weight, precision), y, precision)
    out = split.to(tl.int64) * num_padded + rows
    if with_totals:
        tl.store(total + out, totals)
    if with_rows:
        tl.store(weighted + out[:, None] * block_width + cols[None, :], sums)


@triton.jit
def form_losses(
    view_a,  # [num_rows, width]
    view_b,  # [num_rows, width]
    norm_a,  # [num_padded]
    norm_b,  # [num_padded]
    total,  # [splits, num_padded]
    loss,  # [num_rows]
    offset,  # [num_padded]
    rest,  # [num_padded]
    inverse,  # [num_padded]
    num_rows,
    num_padded,
    splits,
    width,
    scale,
    block_rows: tl.constexpr,
    block_width: tl.constexpr,
):
    """Add the positives to the totals; write per anchor its loss and what gradients need.

    That is the binary logarithm of its softmax's denominator (infinite in the padding), the
    probability of all its negatives, and the inverse of the denominator over ``2^scale``.
    """
    rows = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    a = _load_view(view_a, rows, num_rows, width, block_width)
    b = _load_view(view_b, rows, num_rows, width, block_width)
    a /= tl.maximum(tl.load(norm_a + rows), _EPSILON)[:, None]
    b /= tl.maximum(tl.load(norm_b + rows), _EPSILON)[:, None]
    positive = tl.sum(a * b, 1) * scale
    negatives = tl.zeros([block_rows], tl.float32)
    for split in range(splits):
        negatives += tl.load(total + split * num_padded + rows)
    # The loss is softplus(gap), gap being log(sum over negatives) - log(positive).
    gap = tl.log2(negatives) + (scale - positive)
    small = tl.exp2(-tl.abs(gap))
    # log(1 + small), without losing its last bits where small is small.
    near_one = 1.0 + small
    log_near_one = tl.log(near_one) * (small / tl.where(near_one == 1.0, 1.0, near_one - 1.0))
    value = tl.maximum(gap, 0.0) * _LN_2 + tl.where(near_one == 1.0, small, log_near_one)
    live = rows < num_rows
    tl.store(loss + rows, value, mask=live)
    tl.store(offset + rows, tl.where(live, positive + value * _LOG2_E, float("inf")))
    tl.store(rest + rows, 1.0 / (1.0 + tl.exp2(-gap)))
    tl.store(inverse + rows, 1.0 / (negatives + tl.exp2(positive - scale)))


@triton.jit
def form_gradient(
    weighted,  # [splits, num_padded, block_width]
    inverse,  # [num_padded], if is_scaled
    rest,  # [num_padded]
    view,  # [num_rows, width]
    norm,  # [num_padded]
    other_view,  # [num_rows, width]
    other_norm,  # [num_padded]
    grad,  # [num_rows, width]
    num_rows,
    num_padded,
    splits,
    width,
    factor,
    is_scaled: tl.constexpr,
    block_rows: tl.constexpr,
    block_width: tl.constexpr,
):
    """Add up the splits in their order and the positives; carry on through the normalisation."""
    rows = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    cols = tl.arange(0, block_width)
    at = rows.to(tl.int64)[:, None] * block_width + cols[None, :]
    g = tl.zeros([block_rows, block_width], tl.float32)
    for _ in range(splits):
        g += tl.load(weighted + at)
        weighted += num_padded.to(tl.int64) * block_width
    if is_scaled:
        g *= tl.load(inverse + rows)[:, None]
    other = _load_view(other_view, rows, num_rows, width, block_width)
    other /= tl.maximum(tl.load(other_norm + rows), _EPSILON)[:, None]
    g = (g - tl.load(rest + rows)[:, None] * other) * factor
    length = tl.load(norm + rows)
    divisor = tl.maximum(length, _EPSILON)
    x = _load_view(view, rows, num_rows, width, block_width) / divisor[:, None]
    tangent = g - tl.sum(g * x, 1)[:, None] * x
    # A length below the bound is replaced by a constant.
    g = tl.where((length >= _EPSILON)[:, None], tangent, g) / divisor[:, None]
    mask = (rows < num_rows)[:, None] & (cols < width)[None, :]
    tl.store(grad + rows.to(tl.int64)[:, None] * width + cols[None, :], g, mask=mask)
