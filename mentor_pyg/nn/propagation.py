"""Several layers of propagation, read out as one."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from torch import Tensor

from mentor_pyg.graph import Adjacency
from mentor_pyg.nn.conv import InteractionConv
from mentor_pyg.nn.conv.weighted_sum import check_one_graph
from mentor_pyg.ops import Noise, add_noise, propagate_layers

__all__ = ["LayerReadout", "LayeredPropagation"]

LayerReadout: TypeAlias = Literal["sum", "mean"]


class LayeredPropagation(InteractionConv):
    r"""Propagate :math:`L` times and add up (or average) the input and every layer.

    .. math::
        \mathbf{h}^{(l)} = \hat{\mathbf{A}} \mathbf{h}^{(l-1)}, \qquad
        \mathbf{h} = \sum_{l=0}^{L} \mathbf{h}^{(l)}

    The sum is MENTOR's readout, the mean is
    `LightGCN's <https://arxiv.org/abs/2002.02126>`_.

    Args:
        num_layers: The number of layers :math:`L`; 0 gives the input back.
        layer_readout: ``"sum"`` or ``"mean"`` over the ``num_layers + 1`` terms.
        backend: How :func:`mentor_pyg.ops.propagate_layers` runs.
        **kwargs: Arguments of :class:`torch_geometric.nn.conv.MessagePassing`.

    Shapes:
        - **input:** node features :math:`(|\mathcal{V}|, F)` of one graph, not a pair of sources
          and targets; an ``Adjacency`` with weights, as ``Adjacency.normalized`` gives it (the
          fast path, all layers in one operation), or edges as :class:`InteractionConv` takes them
        - **output:** node features :math:`(|\mathcal{V}|, F)`
    """

    def __init__(
        self,
        num_layers: int,
        layer_readout: LayerReadout = "sum",
        backend: str = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(backend=backend, **kwargs)
        if num_layers < 0:
            raise ValueError(f"'num_layers' needs to be at least 0 (got {num_layers})")
        if layer_readout not in ("sum", "mean"):
            raise ValueError(f"'layer_readout' needs to be 'sum' or 'mean' (got {layer_readout!r})")
        self.num_layers = num_layers
        self.layer_readout: LayerReadout = layer_readout

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        edge_index: Tensor | Adjacency,
        edge_weight: Tensor | None = None,
        noise: Sequence[Noise | None] | None = None,
    ) -> Tensor:
        """Return the readout.

        Args:
            x: Node features.
            edge_index: The graph.
            edge_weight: Weights of plain edges, which replace the normalisation.
            noise: What is added to layer 1, 2, ... before it goes on; ``num_layers`` entries.
        """
        x = check_one_graph(x, "LayeredPropagation")
        if isinstance(edge_index, Adjacency):
            self.check_adjacency(edge_index, edge_weight)
            out = propagate_layers(edge_index, x, self.num_layers, noise, self.backend)
        else:
            out = h = x
            noise = (None,) * self.num_layers if noise is None else tuple(noise)
            if len(noise) != self.num_layers:
                raise ValueError(
                    f"'noise' needs an entry for each of {self.num_layers} layers "
                    f"(got {len(noise)})"
                )
            for entry in noise:
                h = add_noise(super().forward(h, edge_index, edge_weight), entry)
                out = out + h
        return out / (self.num_layers + 1) if self.layer_readout == "mean" else out

    def __repr__(self) -> str:
        return (
            f"LayeredPropagation(num_layers={self.num_layers}, "
            f"layer_readout={self.layer_readout!r}, backend={self.backend!r})"
        )
