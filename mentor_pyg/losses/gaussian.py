"""The distance of two sets of rows, each summarised by a Gaussian."""

from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

__all__ = ["Moments", "Statistics", "gaussian_alignment_loss", "moments"]

Statistics: TypeAlias = Literal["dimension", "scalar"]
"""``"dimension"``: a mean and variance per column. ``"scalar"``: one over all entries."""


class Moments(NamedTuple):
    """Mean and variance, both ``[d]`` or both scalars."""

    mean: Tensor
    variance: Tensor

    def repeat(self, times: int) -> "Moments":
        """Return the moments of the rows with their columns repeated ``times`` times.

        Scalar moments are those of all entries, so repetition leaves them as they are.
        """
        if self.mean.dim() == 0:
            return self
        return Moments(self.mean.repeat(times), self.variance.repeat(times))


def moments(
    x: Tensor,
    statistics: Statistics = "dimension",
    copies: int = 1,
    mask: Tensor | None = None,
) -> Moments:
    """Return the mean and the unbiased variance of rows ``[N, d]``, in float32 at least.

    Args:
        x: The rows.
        statistics: Whether to take them per column or over all entries.
        copies: How many times every entry is counted. It only matters to the unbiased variance
            of ``"scalar"``, which MENTOR's released code takes of a view beside its own copy.
        mask: Which rows count, bool ``[N]``; all if not given. The moments of no rows are zeros.

    Raises:
        ValueError: If there are too few rows for a variance, or ``statistics`` is unknown.
    """
    if statistics not in ("dimension", "scalar"):
        raise ValueError(f"'statistics' needs to be 'dimension' or 'scalar' (got {statistics!r})")
    is_scalar = statistics == "scalar"
    count = x.numel() * copies if is_scalar else x.size(0)
    if x.dim() != 2 or count < 2:
        raise ValueError(
            f"'x' needs rows of shape [N, d], two at least for a variance (got {list(x.shape)})"
        )
    dtype = torch.promote_types(x.dtype, torch.float32)  # Others do not count that far.
    # By a count rather than by an index, whose shape would wait for the device.
    rows = x.new_full((), len(x), dtype=dtype) if mask is None else mask.sum().clamp(min=1)
    rows = rows.to(dtype)
    mean, squares = _MeanAndSquares.apply(x, rows, mask, is_scalar)  # type: ignore[no-untyped-call]
    counted = rows * x.size(1) * copies if is_scalar else rows
    return Moments(mean, squares * (counted / (counted - 1).clamp(min=1)))


class _MeanAndSquares(torch.autograd.Function):
    """The mean of the rows that count and their mean square about it, ``[d]`` or scalars.

    The gradient is linear in a row: one pass over memory, where autograd takes six.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, rows: Tensor, mask: Tensor | None, is_scalar: bool
    ) -> tuple[Tensor, Tensor]:
        out = None if mask is None else ~mask.unsqueeze(-1)
        # Column by column first: a sum over all entries depends on the number of threads, and
        # torch.var over the rows of a tall matrix takes ten times as long on the CPU.
        wide = x.to(rows.dtype)
        mean = _filled(wide, out).sum(dim=0) / rows
        if is_scalar:
            mean = mean.mean()
        squares = _filled(wide - mean, out).square_().sum(dim=0) / rows
        if is_scalar:
            squares = squares.mean()
        ctx.save_for_backward(x, rows, mean, out)
        ctx.entries = x.size(1) if is_scalar else 1
        return mean, squares

    @staticmethod
    def backward(
        ctx: Any, grad_mean: Tensor, grad_squares: Tensor
    ) -> tuple[Tensor, None, None, None]:
        x, rows, mean, out = ctx.saved_tensors
        slope = 2 * grad_squares / (rows * ctx.entries)
        offset = grad_mean / (rows * ctx.entries) - slope * mean
        return _filled(torch.addcmul(offset, x.to(rows.dtype), slope), out), None, None, None


def _filled(x: Tensor, out: Tensor | None) -> Tensor:
    return x if out is None else x.masked_fill(out, 0.0)


def gaussian_alignment_loss(a: Moments, b: Moments) -> Tensor:
    r"""Return :math:`|\mu_a - \mu_b| + |\sigma^2_a - \sigma^2_b|`, averaged over columns.

    Args:
        a: Moments of one view.
        b: Moments of the other; of as many columns.

    Returns:
        A scalar; 0 where the Gaussians are the same.

    Raises:
        ValueError: If one has other columns than the other.
    """
    if a.mean.shape != b.mean.shape or a.variance.shape != b.variance.shape:
        raise ValueError(
            f"'a' and 'b' need as many columns as each other (got {list(a.mean.shape)} and "
            f"{list(b.mean.shape)}); Moments.repeat widens a view by copies"
        )
    return ((a.mean - b.mean).abs() + (a.variance - b.variance).abs()).mean()
