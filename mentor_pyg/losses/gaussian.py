"""The distance of two sets of rows, each summarised by a Gaussian."""

from typing import Literal, NamedTuple, TypeAlias

from torch import Tensor, nn

__all__ = ["GaussianAlignmentLoss", "Moments", "Statistics", "gaussian_alignment_loss", "moments"]

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


def moments(x: Tensor, statistics: Statistics = "dimension", copies: int = 1) -> Moments:
    """Return the mean and the unbiased variance of rows ``[N, d]``.

    Args:
        x: The rows.
        statistics: Whether to take them per column or over all entries.
        copies: How many times every entry is counted. It only matters to the unbiased variance
            of ``"scalar"``, which MENTOR's released code takes of a view beside its own copy.
    """
    if statistics == "dimension":
        mean = x.mean(dim=0)
        # torch.var over the rows of a tall matrix takes ten times as long on the CPU.
        return Moments(mean, (x - mean).square().sum(dim=0) / (x.size(0) - 1))
    count = x.numel() * copies
    biased = x.var(correction=0)
    return Moments(x.mean(), biased * (count / (count - 1)))


def gaussian_alignment_loss(a: Moments, b: Moments) -> Tensor:
    r"""Return :math:`|\mu_a - \mu_b| + |\sigma^2_a - \sigma^2_b|`, averaged over columns.

    Args:
        a: Moments of one view.
        b: Moments of the other; of as many columns.

    Returns:
        A scalar; 0 where the Gaussians are the same.
    """
    return ((a.mean - b.mean).abs() + (a.variance - b.variance).abs()).mean()


class GaussianAlignmentLoss(nn.Module):
    """:func:`gaussian_alignment_loss` of two sets of rows, as a module."""

    def __init__(self, statistics: Statistics = "dimension") -> None:
        super().__init__()
        self.statistics: Statistics = statistics

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the loss of rows ``[N, d]`` and ``[M, d]``."""
        return gaussian_alignment_loss(moments(a, self.statistics), moments(b, self.statistics))

    def extra_repr(self) -> str:
        """Return what ``repr`` shows."""
        return f"statistics={self.statistics!r}"
