from dataclasses import FrozenInstanceError

import pytest
import torch

from mentor_pyg.data import Representations, Scorer


@pytest.fixture
def reps() -> Representations:
    """With one view that only the users have, and one that only the items have."""
    return Representations(
        user={
            "social": torch.rand(3, 2),
            "fused": torch.rand(3, 4, requires_grad=True),
            "id": torch.rand(3, 2),
        },
        item={
            "visual": torch.rand(5, 3),
            "fused": torch.rand(5, 4),
            "id": torch.rand(5, 2, requires_grad=True),
        },
    )


def test_views_and_nodes(reps: Representations) -> None:
    assert reps.views == ("fused", "id")
    nodes = reps.nodes("id")
    assert torch.equal(nodes[:3], reps.user["id"])
    assert torch.equal(nodes[3:], reps.item["id"])


def test_is_frozen(reps: Representations) -> None:
    with pytest.raises(FrozenInstanceError):
        reps.user = {}  # type: ignore[misc]


def test_scores_are_dot_products_of_the_fused_view(reps: Representations) -> None:
    assert isinstance(reps, Scorer)
    assert (reps.num_users, reps.num_items) == (3, 5)
    expected = reps.user["fused"] @ reps.item["fused"].t()
    scores = reps.scores(torch.tensor([2, 0, 2]))
    torch.testing.assert_close(scores, expected[[2, 0, 2]])
    out = torch.full((4, 5), torch.nan)
    with torch.no_grad():
        assert torch.equal(reps.scores(torch.tensor([2, 0, 2]), out=out), scores)
    assert torch.equal(out[:3], scores)
    assert out[3].isnan().all()
    # One user against several items.
    user, item = torch.tensor([[2], [0]]), torch.tensor([4, 0, 1])
    torch.testing.assert_close(reps.pair_scores(user, item), expected[[2, 0]][:, [4, 0, 1]])


@pytest.mark.parametrize("side", ["user", "item"])
def test_needs_the_fused_view_on_both_sides(side: str) -> None:
    sides = {"user": {"fused": torch.rand(3, 4)}, "item": {"fused": torch.rand(5, 4)}}
    sides[side] = {"id": torch.rand(3, 4)}
    with pytest.raises(ValueError, match=rf"'{side}' needs the view 'fused'.* \(got \['id'\]\)"):
        Representations(**sides)


@pytest.mark.parametrize("shape", [(5, 3), (4,)])
def test_needs_one_width(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(got \[3, 4\] and "):
        Representations({"fused": torch.rand(3, 4)}, {"fused": torch.rand(shape)})


def test_detach_and_to_keep_values(reps: Representations) -> None:
    for changed in (reps.detach(), reps.to("cpu")):
        assert (changed.user.keys(), changed.item.keys()) == (reps.user.keys(), reps.item.keys())
        for view in reps.views:
            assert torch.equal(changed.nodes(view), reps.nodes(view))
    assert not any(reps.detach().nodes(view).requires_grad for view in reps.views)
    assert reps.to("meta").user["fused"].device.type == "meta"


def test_from_nodes_is_the_reverse_of_nodes() -> None:
    nodes = {"fused": torch.randn(7, 3), "id": torch.randn(7, 2)}
    reps = Representations.from_nodes(nodes, 3)
    assert (reps.num_users, reps.num_items, reps.views) == (3, 4, ("fused", "id"))
    assert all(torch.equal(reps.nodes(view), x) for view, x in nodes.items())
