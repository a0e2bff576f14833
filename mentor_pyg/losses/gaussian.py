"""The distance of two sets of rows, each summarised by a Gaussian."""

from typing import Literal, NamedTuple, TypeAlias

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
    """Return the mean and the unbiased variance of rows ``[N, d]``.

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
    if mask is not None:
        return _masked_moments(x, mask, is_scalar, copies)
    mean = x.mean(dim=0)
    if is_scalar:
        # Column by column first: a sum over all entries depends on the number of threads.
        mean = mean.mean()
        biased = (x - mean).square().mean(dim=0).mean()
        return Moments(mean, biased * (count / (count - 1)))
    # torch.var over the rows of a tall matrix takes ten times as long on the CPU.
    return Moments(mean, (x - mean).square().sum(dim=0) / (count - 1))


def _masked_moments(x: Tensor, mask: Tensor, is_scalar: bool, copies: int) -> Moments:
    # By a count rather than by an index, whose shape would wait for the device.
    out, rows = ~mask.unsqueeze(-1), mask.sum().clamp(min=1)
    mean = x.masked_fill(out, 0.0).sum(dim=0) / rows
    if is_scalar:
        mean = mean.mean()
    squares = (x - mean).masked_fill(out, 0.0).square().sum(dim=0)
    if is_scalar:
        count = rows * x.size(1) * copies
        return Moments(mean, squares.mean() / rows * (count / (count - 1).clamp(min=1)))
    return Moments(mean, squares / (rows - 1).clamp(min=1))


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
