import itertools

import numpy as np
import pytest
import torch

from mentor_pyg.data import Representations
from mentor_pyg.losses import Statistics
from mentor_pyg.nn import AlignmentLevel, CrossModalAlignment

USERS, ITEMS, DIM = 7, 11, 3
MODALITIES = ("visual", "textual", "audio")


def representations(modalities: tuple[str, ...], with_id: bool = True) -> Representations:
    """Independent leaves, each with its own mean and scale."""
    widths = {"fused": len(modalities) * DIM, **dict.fromkeys(modalities, DIM)}
    if with_id:
        widths["id"] = DIM

    def leaves(rows: int) -> dict[str, torch.Tensor]:
        return {
            view: (torch.randn(rows, width) * (1 + n) + n).requires_grad_()
            for n, (view, width) in enumerate(widths.items())
        }

    return Representations(leaves(USERS), leaves(ITEMS))


def numpy_cost(reps: Representations, a: str, b: str, statistics: Statistics) -> float:
    """The formula, in float64."""
    fused_width = reps.user["fused"].size(1)
    summary = []
    for view in (a, b):
        nodes = reps.nodes(view).detach().double().numpy()
        if statistics == "scalar" or "fused" in (a, b):
            nodes = np.concatenate([nodes] * (fused_width // nodes.shape[1]), axis=1)
        axis = 0 if statistics == "dimension" else None
        summary.append((nodes.mean(axis=axis), nodes.var(axis=axis, ddof=1)))
    (mean_a, var_a), (mean_b, var_b) = summary
    return float(np.mean(np.abs(mean_a - mean_b) + np.abs(var_a - var_b)))


def pairs_of(level: AlignmentLevel, modalities: tuple[str, ...]) -> list[tuple[str, str]]:
    return {
        AlignmentLevel.ID_FUSED: [("id", "fused")],
        AlignmentLevel.ID_MODALITY: [("id", m) for m in modalities],
        AlignmentLevel.FUSED_MODALITY: [("fused", m) for m in modalities],
        AlignmentLevel.MODALITY_MODALITY: list(itertools.combinations(modalities, 2)),
    }[level]


@pytest.mark.parametrize("statistics", ["dimension", "scalar"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_level_equals_numpy(count: int, statistics: Statistics) -> None:
    modalities = MODALITIES[:count]
    reps = representations(modalities)
    costs = CrossModalAlignment(statistics=statistics)(reps)
    assert list(costs) == list(AlignmentLevel)
    for level, cost in costs.items():
        pairs = pairs_of(level, modalities)
        expected = sum(numpy_cost(reps, a, b, statistics) for a, b in pairs)
        assert cost.shape == ()
        assert cost.item() == pytest.approx(expected, rel=1e-5)
    assert (costs[AlignmentLevel.MODALITY_MODALITY] == 0) == (count == 1)


@pytest.mark.parametrize("statistics", ["dimension", "scalar"])
@pytest.mark.parametrize("level", list(AlignmentLevel))
def test_a_level_moves_the_views_it_names_and_no_others(
    level: AlignmentLevel, statistics: Statistics
) -> None:
    reps = representations(MODALITIES)
    CrossModalAlignment([level], statistics)(reps)[level].backward()
    named = set(itertools.chain(*pairs_of(level, MODALITIES)))
    for view in reps.views:
        for table in (reps.user[view], reps.item[view]):
            if view in named:
                assert table.grad is not None
                assert table.grad.ne(0).any()
            else:
                assert table.grad is None


def test_views_that_are_the_same_cost_nothing() -> None:
    table = {view: torch.arange(12.0).view(4, 3) for view in ("fused", "id", "visual")}
    for statistics in ("dimension", "scalar"):
        costs = CrossModalAlignment(statistics=statistics)(Representations(table, table))
        assert all(cost == 0 for cost in costs.values())


def test_a_fused_view_of_copies_costs_nothing_per_dimension() -> None:
    reps = representations(MODALITIES)
    fused = Representations(
        {**reps.user, "fused": reps.user["id"].repeat(1, 3)},
        {**reps.item, "fused": reps.item["id"].repeat(1, 3)},
    )
    assert CrossModalAlignment(["id_fused"])(fused)["id_fused"] == 0


def test_only_the_levels_asked_for() -> None:
    reps = representations(MODALITIES)
    everything = CrossModalAlignment()(reps)
    costs = CrossModalAlignment(["modality_modality", AlignmentLevel.ID_FUSED])(reps)
    assert list(costs) == [AlignmentLevel.MODALITY_MODALITY, AlignmentLevel.ID_FUSED]
    for level, cost in costs.items():
        assert torch.equal(cost, everything[level])
        assert torch.equal(costs[level.value], cost)  # A level is its name.
    assert CrossModalAlignment([])(reps) == {}


def test_without_an_id_view_its_levels_cost_nothing() -> None:
    costs = CrossModalAlignment()(representations(MODALITIES, with_id=False))
    assert costs["id_fused"] == costs["id_modality"] == 0
    assert costs["fused_modality"] > 0


def test_unknown_level_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'levels' needs names among .*\(got 'id'\)") as raised:
        CrossModalAlignment(["id_fused", "id"])
    assert all(level.value in str(raised.value) for level in AlignmentLevel)


def test_repr() -> None:
    alignment = CrossModalAlignment(["id_fused"], "scalar")
    assert repr(alignment) == "CrossModalAlignment(levels=['id_fused'], statistics='scalar')"
    assert not list(alignment.parameters())


@pytest.mark.parametrize("width", [DIM + 1, DIM - 1])
def test_a_view_that_does_not_go_into_the_fused_one_is_named(width: int) -> None:
    reps = representations(("visual",))
    wider = {"user": torch.randn(USERS, width), "item": torch.randn(ITEMS, width)}
    reps = Representations(
        {**reps.user, "visual": wider["user"]}, {**reps.item, "visual": wider["item"]}
    )
    with pytest.raises(ValueError, match=rf"'visual' needs a width that .* {DIM} .*got {width}"):
        CrossModalAlignment()(reps)
