import pytest
import torch
from counts import info_nce_gflop, propagate_gbyte, step_gflop

from mentor_pyg.graph import Adjacency
from mentor_pyg.models import MENTORConfig

USERS, ITEMS, EDGES = 19_445, 7_050, 118_551
CHANNELS = {"visual": 4096, "textual": 384}


@pytest.fixture
def baby() -> Adjacency:
    """A matrix with the counts of Baby's; which edges there are makes no difference."""
    edge_index = torch.zeros(2, 2 * EDGES, dtype=torch.long)
    return Adjacency.from_edge_index(edge_index, num_nodes=USERS + ITEMS)


def test_a_released_step_on_baby_is_counted_as_by_hand(baby: Adjacency) -> None:
    config = MENTORConfig(semantics="released")
    counted = step_gflop(config, baby, CHANNELS, ITEMS, (USERS, ITEMS))
    assert counted["encoders"] == pytest.approx(103, abs=0.5)
    assert counted["propagation"] == pytest.approx(0.85, abs=0.005)
    assert counted["InfoNCE"] == pytest.approx(329, abs=1)
    assert counted["masking"] == pytest.approx(0.87, abs=0.01)


def test_shared_encoders_cost_a_third(baby: Adjacency) -> None:
    released, paper = (
        step_gflop(MENTORConfig(semantics=s), baby, CHANNELS, ITEMS, (USERS, ITEMS))  # type: ignore[arg-type]
        for s in ("released", "paper")
    )
    assert paper["encoders"] == pytest.approx(released["encoders"] / 3, rel=0.03)
    # Of 14 layers, the four perturbed first ones are shared with the unperturbed.
    assert paper["propagation"] == pytest.approx(released["propagation"] * 10 / 14)


def test_contrast_of_the_batch_costs_less(baby: Adjacency) -> None:
    counted = step_gflop(MENTORConfig(contrast="batch"), baby, CHANNELS, ITEMS, (1_900, 1_200))
    assert counted["InfoNCE"] == info_nce_gflop(1_900, 128) + info_nce_gflop(1_200, 128)


def test_bytes_of_a_product_are_those_of_its_edges_and_rows(baby: Adjacency) -> None:
    edges, rows = 2 * EDGES, USERS + ITEMS
    assert propagate_gbyte(baby, 64, 2) == pytest.approx(2 * (edges * (8 + 256) + rows * 256) / 1e9)
