from dataclasses import FrozenInstanceError

import pytest
import torch

from mentor_pyg.data import Representations


@pytest.fixture
def reps() -> Representations:
    return Representations(
        user={"fused": torch.rand(3, 4, requires_grad=True), "id": torch.rand(3, 2)},
        item={"fused": torch.rand(5, 4), "id": torch.rand(5, 2, requires_grad=True)},
    )


def test_views_and_nodes(reps: Representations) -> None:
    assert reps.views == ("fused", "id")
    nodes = reps.nodes("id")
    assert torch.equal(nodes[:3], reps.user["id"])
    assert torch.equal(nodes[3:], reps.item["id"])


def test_is_frozen(reps: Representations) -> None:
    with pytest.raises(FrozenInstanceError):
        reps.user = {}  # type: ignore[misc]


def test_refuses_views_that_differ() -> None:
    with pytest.raises(ValueError, match=r"same views \(got \['fused'\] and \['fused', 'id'\]\)"):
        Representations({"fused": torch.rand(1, 1)}, dict.fromkeys(("id", "fused"), torch.rand(1)))


def test_detach_and_to_keep_values(reps: Representations) -> None:
    for changed in (reps.detach(), reps.to("cpu")):
        assert changed.views == reps.views
        for view in reps.views:
            assert torch.equal(changed.nodes(view), reps.nodes(view))
    assert not any(reps.detach().nodes(view).requires_grad for view in reps.views)
    assert reps.to("meta").user["fused"].device.type == "meta"
