"""Operations and bytes that the timed functions need, counted rather than measured.

Operations are those of the method, not of an implementation: a product and a sum count as two,
exponentials and the like are left out. Bytes of a sparse product assume that every gathered row
misses the cache, which is the most it can move; bytes of dense work are its inputs and outputs
moved once, which is the least.
"""

from __future__ import annotations

from collections.abc import Mapping

from mentor_pyg.graph import Adjacency
from mentor_pyg.models import MENTORConfig
from mentor_pyg.models.mentor.semantics import RULES

__all__ = [
    "dense_gbyte",
    "encoder_gflop",
    "info_nce_gflop",
    "knn_gflop",
    "mask_gflop",
    "propagate_gbyte",
    "propagate_gflop",
    "ranking_gflop",
    "softmax_gflop",
    "step_gflop",
]


def propagate_gflop(adjacency: Adjacency, width: int, products: int = 1) -> float:
    """Return the 10^9 operations of ``products`` sparse products of a width."""
    return 2 * adjacency.num_edges * width * products / 1e9


def propagate_gbyte(
    adjacency: Adjacency, width: int, products: int = 1, element_size: int = 4
) -> float:
    """Return the 10^9 bytes of sparse products: index and weight, a gathered row, an output."""
    edges = adjacency.num_edges * (4 + 4 + width * element_size)
    return products * (edges + adjacency.num_targets * width * element_size) / 1e9


def info_nce_gflop(rows: int, width: int) -> float:
    """Return the 10^9 operations of InfoNCE and its gradient: 6 N^2 d."""
    return softmax_gflop(rows, rows, width)


def softmax_gflop(queries: int, rows: int, width: int) -> float:
    """Return the 10^9 operations of a softmax over a table and its gradients: 6 B N d."""
    return 6 * queries * rows * width / 1e9


def knn_gflop(rows: int, channels: int) -> float:
    """Return the 10^9 operations of all similarities: 2 N^2 C."""
    return 2 * rows**2 * channels / 1e9


def ranking_gflop(users: int, items: int, width: int) -> float:
    """Return the 10^9 operations of all scores: 2 U I d."""
    return 2 * users * items * width / 1e9


def dense_gbyte(*elements: int) -> float:
    """Return the 10^9 bytes of float32 tensors with so many elements, each moved once."""
    return 4 * sum(elements) / 1e9


def encoder_gflop(items: int, channels: int, dim: int, *, learned_input: bool) -> float:
    """Return the 10^9 operations of an encoder's two layers, forward and backward.

    Raw features get no gradient, so their layer's backward is one product rather than two.
    """
    hidden = 2 * items * channels * 4 * dim * (3 if learned_input else 2)
    return (hidden + 3 * 2 * items * 4 * dim * dim) / 1e9


def mask_gflop(nodes: int, width: int, *, trains: bool) -> float:
    """Return the 10^9 operations of feature masking's predictor."""
    return (3 if trains else 1) * 2 * nodes * width**2 / 1e9


def step_gflop(
    config: MENTORConfig,
    adjacency: Adjacency,
    channels: Mapping[str, int],
    num_items: int,
    contrasted: tuple[int, int],
) -> dict[str, float]:
    """Return the 10^9 operations of a training step of MENTOR by their kind.

    Left out: the item graph, the losses of the batch, alignment, Adam; all are linear in nodes.

    Args:
        config: The settings.
        adjacency: The interactions.
        channels: Per modality the width of its features.
        num_items: The number of items.
        contrasted: How many users and items are contrasted.
    """
    dim, rules = config.embedding_dim, RULES[config.semantics]
    views = len(channels) + config.id_guidance
    passes = 1 if rules.shared_encoders else 3  # Two perturbed views with encoders of their own.
    encoders = passes * sum(
        encoder_gflop(num_items, c, dim, learned_input=False) for c in channels.values()
    )
    if config.id_guidance:
        encoders += encoder_gflop(num_items, dim, dim, learned_input=True)
    # Shared encoders share the first, unperturbed layer too.
    perturbed_layers = config.num_layers - (1 if rules.shared_encoders else 0)
    layers = views * config.num_layers + 2 * len(channels) * max(0, perturbed_layers)
    width = dim * len(channels)
    return {
        "encoders": encoders,
        "propagation": propagate_gflop(adjacency, dim, products=2 * layers),
        "InfoNCE": sum(info_nce_gflop(rows, width) for rows in contrasted),
        "masking": mask_gflop(adjacency.num_targets, width, trains=rules.masking_trains),
    }
