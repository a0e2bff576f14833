"""General feature enhancement by graph perturbation."""

from torch import Tensor, nn

from mentor_pyg.ops import Noise, add_noise

__all__ = ["GraphPerturbation"]


class GraphPerturbation(nn.Module):
    r"""Add noise of fixed length that keeps every entry's sign.

    .. math::
        \mathbf{h}^{\prime} = \mathbf{h} + \epsilon\, \mathrm{sign}(\mathbf{h}) \odot
        \frac{\mathbf{u}}{\Vert \mathbf{u} \Vert}, \qquad \mathbf{u} \sim U[0, 1)^d

    as in `SimGCL <https://arxiv.org/abs/2112.08679>`_, after every layer of propagation. In
    evaluation mode nothing is added, as with dropout.

    Args:
        noise_scale: The length :math:`\epsilon` of every row's noise.

    Shapes:
        - **input:** rows :math:`(N, F)`, draws from :math:`U[0, 1)` :math:`(N, F)` *(optional)*
        - **output:** rows :math:`(N, F)`
    """

    def __init__(self, noise_scale: float = 0.1) -> None:
        super().__init__()
        if noise_scale < 0:
            raise ValueError(f"'noise_scale' needs to be at least 0 (got {noise_scale})")
        self.noise_scale = noise_scale

    def forward(self, h: Tensor, draws: Tensor | None = None) -> Tensor:
        """Return the rows with noise added; the noise is drawn if not given."""
        return add_noise(h, Noise(self.noise_scale, draws)) if self.training else h

    def extra_repr(self) -> str:
        """Return what ``repr`` shows."""
        return f"noise_scale={self.noise_scale:g}"
