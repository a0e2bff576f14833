"""General feature enhancement by feature masking."""

from torch import Tensor, nn

from mentor_pyg.losses import cosine_loss
from mentor_pyg.ops import uniform_like

__all__ = ["FeatureMasking"]


class FeatureMasking(nn.Module):
    r"""Predict a view with entries masked from the view itself.

    The target is the view with a share of its entries dropped, without gradient; the prediction
    is a linear predictor of the whole view; the loss is :math:`1 - \cos`. From section "General
    Feature Enhancement" of `MENTOR <https://arxiv.org/abs/2402.19407>`_.

    Args:
        width: The width of the view.
        mask_ratio: The share of entries that the target loses, in ``[0, 1)``.

    Shapes:
        - **input:** rows :math:`(N, F)`, kept entries :math:`(N, F)` *(optional)*
        - **output:** a scalar
    """

    def __init__(self, width: int, mask_ratio: float = 0.5) -> None:
        super().__init__()
        if not 0 <= mask_ratio < 1:
            raise ValueError(f"'mask_ratio' needs to be in [0, 1) (got {mask_ratio})")
        self.mask_ratio = mask_ratio
        self.predictor = nn.Linear(width, width)

    def reset_parameters(self) -> None:
        """Draw the predictor anew."""
        self.predictor.reset_parameters()

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return the loss.

        Args:
            x: The view.
            keep: Which entries the target keeps, bool; drawn if not given.

        Raises:
            ValueError: If ``keep`` has another shape.
        """
        if keep is None:
            keep = uniform_like(x) >= self.mask_ratio
        elif keep.shape != x.shape:
            raise ValueError(
                f"'keep' needs the shape of 'x', {list(x.shape)} (got {list(keep.shape)})"
            )
        target = x.detach() * keep  # The cosine does not see dropout's rescaling.
        return cosine_loss(self.predictor(x), target)

    def extra_repr(self) -> str:
        """Return what ``repr`` shows."""
        return f"mask_ratio={self.mask_ratio:g}"
