"""Several layers of propagation, read out as one."""

from collections.abc import Callable
from typing import Literal, TypeAlias

from torch import Tensor, nn

from mentor_pyg.graph import Adjacency
from mentor_pyg.nn.conv import InteractionConv

__all__ = ["LayerReadout", "LayeredPropagation", "Perturb"]

LayerReadout: TypeAlias = Literal["sum", "mean"]
Perturb: TypeAlias = Callable[[Tensor, int], Tensor]
"""``(h, layer) -> h``, applied to what layer 1, 2, ... gives before it goes on."""


class LayeredPropagation(nn.Module):
    r"""Propagate :math:`L` times and add up (or average) the input and every layer.

    .. math::
        \mathbf{h}^{(l)} = \hat{\mathbf{A}} \mathbf{h}^{(l-1)}, \qquad
        \mathbf{h} = \sum_{l=0}^{L} \mathbf{h}^{(l)}

    The sum is MENTOR's readout, the mean is
    `LightGCN's <https://arxiv.org/abs/2002.02126>`_.

    Args:
        num_layers: The number of layers :math:`L`; 0 gives the input back.
        layer_readout: ``"sum"`` or ``"mean"`` over the ``num_layers + 1`` terms.
        backend: How :func:`mentor_pyg.ops.propagate` runs.

    Shapes:
        - **input:** node features :math:`(|\mathcal{V}|, F)`, a normalised ``Adjacency``
        - **output:** node features :math:`(|\mathcal{V}|, F)`
    """

    def __init__(
        self, num_layers: int, layer_readout: LayerReadout = "sum", backend: str = "auto"
    ) -> None:
        super().__init__()
        if num_layers < 0:
            raise ValueError(f"'num_layers' needs to be at least 0 (got {num_layers})")
        if layer_readout not in ("sum", "mean"):
            raise ValueError(f"'layer_readout' needs to be 'sum' or 'mean' (got {layer_readout!r})")
        self.num_layers = num_layers
        self.layer_readout: LayerReadout = layer_readout
        self.conv = InteractionConv(backend=backend)

    def forward(
        self,
        x: Tensor,
        adjacency: Adjacency,
        *,
        first: Tensor | None = None,
        perturb: Perturb | None = None,
    ) -> Tensor:
        """Return the readout.

        Args:
            x: Node features.
            adjacency: The normalised graph.
            first: The unperturbed first layer, where the caller has it already.
            perturb: Changes every layer's output.
        """
        out = h = x
        for layer in range(1, self.num_layers + 1):
            h = first if layer == 1 and first is not None else self.conv(h, adjacency)
            if perturb is not None:
                h = perturb(h, layer)
            out = out + h
        return out / (self.num_layers + 1) if self.layer_readout == "mean" else out

    def extra_repr(self) -> str:
        """Return what ``repr`` shows."""
        return f"num_layers={self.num_layers}, layer_readout={self.layer_readout!r}"
