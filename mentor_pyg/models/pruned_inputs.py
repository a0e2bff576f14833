"""What an epoch reads that does without some of the interactions."""

from __future__ import annotations

import torch

from mentor_pyg.data import Inputs
from mentor_pyg.graph import Pruning, interaction_adjacency, prune_interactions

__all__ = ["pruned_inputs"]


def pruned_inputs(
    inputs: Inputs, prune_ratio: float, generator: torch.Generator, by: Pruning = "degree"
) -> Inputs:
    """Return inputs whose graph ``"interaction"`` is that of the kept interactions.

    It is normalised by the degrees that are left. For ``Recommender.resample``: training goes
    over it, ranking over all interactions.

    Args:
        inputs: What the model's ``prepare`` gave.
        prune_ratio: The share of interactions that go; with 0 the inputs are given back.
        generator: Where random numbers come from.
        by: See :func:`~mentor_pyg.graph.prune_interactions`.
    """
    counts = (inputs.num_users, inputs.num_items)
    kept = prune_interactions(inputs.interactions, *counts, prune_ratio, generator, by)
    if kept.size(1) == inputs.interactions.size(1):
        return inputs
    return inputs.with_graphs(interaction=interaction_adjacency(kept, *counts))
