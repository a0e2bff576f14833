"""What torch.compile makes of the parts of MENTOR: whole graphs, or a known number of pieces."""

from collections.abc import Callable

import pytest
import torch
import torch._dynamo
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import Representations
from mentor_pyg.losses import bpr_loss, cosine_loss, info_nce
from mentor_pyg.models import MENTOR, Draws, MENTORConfig
from mentor_pyg.nn import (
    CrossModalAlignment,
    FeatureMasking,
    GraphPerturbation,
    ModalityEncoder,
    ModalityFusion,
)
from mentor_pyg.sampling import BPRBatches

USERS, ITEMS, DIM = 6, 9, 4


def rows(*shape: int) -> Tensor:
    return torch.randn(*shape)


def views(width: int = DIM) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    names = {"visual": width, "textual": width}
    return {n: rows(USERS, w) for n, w in names.items()}, {
        n: rows(ITEMS, w) for n, w in names.items()
    }


def representations() -> Representations:
    user, item = views()
    fused = {"id": rows(USERS, DIM), "fused": rows(USERS, 2 * DIM)}
    return Representations(
        {**user, **fused},
        {**item, "id": rows(ITEMS, DIM), "fused": rows(ITEMS, 2 * DIM)},
    )


PARTS: dict[str, tuple[Callable[..., object], tuple[object, ...]]] = {
    "encoder": (ModalityEncoder(5, DIM, USERS), (rows(ITEMS, 5), torch.ones(ITEMS) > 0)),
    "fusion": (ModalityFusion(USERS, ("visual", "textual")), views()),
    "alignment": (CrossModalAlignment(), (representations(),)),
    "masking": (FeatureMasking(DIM), (rows(ITEMS, DIM), torch.rand(ITEMS, DIM) < 0.5)),
    "perturbation": (GraphPerturbation(), (rows(ITEMS, DIM), torch.rand(ITEMS, DIM))),
    "bpr": (bpr_loss, (rows(8), rows(8))),
    "InfoNCE": (info_nce, (rows(8, 4), rows(8, 4), 0.2)),
    "cosine": (cosine_loss, (rows(8, 3), rows(8, 3))),
}


@pytest.fixture(autouse=True)
def fresh_compiler() -> None:
    torch._dynamo.reset()


@pytest.mark.parametrize("part", PARTS)
def test_dense_parts_compile_without_a_graph_break(part: str) -> None:
    function, arguments = PARTS[part]
    compiled = torch.compile(function, fullgraph=True, backend="eager")  # Raises at a break.
    torch.testing.assert_close(compiled(*arguments), function(*arguments))


def test_drawing_what_is_masked_compiles_and_exports() -> None:
    head, x = FeatureMasking(DIM, 0.25), rows(4000, DIM)
    compiled = torch.compile(head, fullgraph=True, backend="eager")
    for masked in (compiled(x), torch.export.export(head, (x,)).module()(x)):
        torch.testing.assert_close(masked, head(x), rtol=0.05, atol=0)


def test_the_whole_loss_breaks_where_the_graphs_and_the_generators_are(
    tiny_data: HeteroData,
) -> None:
    model = MENTOR.from_data(tiny_data, MENTORConfig(backend="torch_csr"))
    batch = next(iter(BPRBatches(tiny_data)))
    inputs = model.prepare(tiny_data)
    model.loss(inputs, *batch)  # Backends lay out the graphs.
    breaks = torch._dynamo.explain(model.terms)(inputs, batch, Draws()).graph_break_count
    # At sparse products and numpy's generator; see docs/backends.md.
    assert 0 < breaks <= 30
