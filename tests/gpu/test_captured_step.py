from functools import partial

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.models import MENTOR, CapturedStep, LightGCN, MENTORConfig, Recommender
from mentor_pyg.sampling import BPRBatches

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("recorded")]


def gradients(model: Recommender) -> list[Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


SAME_EVERY_TIME = {"mask_weight": 0.0, "perturb_weight": 0.1, "noise_scale": 0.0}
"""Settings of MENTOR whose loss draws nothing, with the contrast in it."""


@pytest.mark.parametrize(
    ("build", "settings"),
    [
        (LightGCN, None),
        (MENTOR, SAME_EVERY_TIME),
        (MENTOR, {**SAME_EVERY_TIME, "semantics": "released"}),
    ],
)
def test_a_replay_sets_the_terms_and_gradients_of_its_batch(
    build: type[Recommender],
    settings: dict[str, object] | None,
    data: HeteroData,
    device: torch.device,
) -> None:
    config = settings and MENTORConfig.from_dict(settings)
    model = build.from_data(data, config).to(device)
    first, second, *_ = BPRBatches(data, 128)
    step = CapturedStep(partial(model.loss, data), model.parameters(), first)
    for batch in (second, first, second):
        values = step(batch)
        found = gradients(model)
        model.zero_grad()
        terms = model.loss(data, *batch)
        sum(terms.values()).backward()
        assert step.terms == tuple(terms)
        torch.testing.assert_close(values, torch.stack(list(terms.values())).detach())
        torch.testing.assert_close(found, gradients(model))


def test_replays_draw_anew(data: HeteroData, device: torch.device) -> None:
    model = MENTOR.from_data(data, MENTORConfig(perturb_weight=0.1)).to(device)
    batch = next(iter(BPRBatches(data, 128)))
    step = CapturedStep(partial(model.loss, data), model.parameters(), batch)
    first, second = (dict(zip(step.terms, step(batch).tolist(), strict=True)) for _ in range(2))
    drawn = {term for term in first if first[term] != pytest.approx(second[term], rel=1e-5)}
    assert drawn == {"mask", "perturb"}


def test_fits_batches_of_its_size(data: HeteroData, device: torch.device) -> None:
    model = LightGCN.from_data(data).to(device)
    whole, *_, short = BPRBatches(data, 100)
    step = CapturedStep(partial(model.loss, data), model.parameters(), whole)
    assert step.fits(whole)
    assert not step.fits(short)


def test_gradients_that_autograd_shares_have_memory_of_their_own(device: torch.device) -> None:
    first, second = (torch.nn.Parameter(torch.ones(2, 3, device=device)) for _ in range(2))

    def loss(x: Tensor) -> dict[str, Tensor]:
        return {"both": (first + second).mul(x).sum(), "first": first.sum()}

    batch = [torch.full((2, 3), 2.0, device=device)]
    CapturedStep(loss, [first, second], batch)(batch)
    assert first.grad is not None
    assert second.grad is not None
    first.grad.mul_(0.5)  # Fails for a gradient that repeats one number.
    second.grad.mul_(0.5)
    assert first.grad.tolist() == [[1.5] * 3] * 2
    assert second.grad.tolist() == [[1.0] * 3] * 2
