"""What torch.compile makes of the parts of MENTOR: whole graphs, or a known number of pieces."""

import pytest
import torch
import torch._dynamo
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from mentor_pyg.data import Representations
from mentor_pyg.losses import BPRLoss, CosineLoss, InfoNCELoss
from mentor_pyg.models import MENTOR, MENTORConfig
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


PARTS: dict[str, tuple[nn.Module, tuple[object, ...]]] = {
    "encoder": (ModalityEncoder(5, DIM, USERS), (rows(ITEMS, 5), torch.ones(ITEMS) > 0)),
    "fusion": (ModalityFusion(USERS, ("visual", "textual")), views()),
    "alignment": (CrossModalAlignment(), (representations(),)),
    "masking": (FeatureMasking(DIM), (rows(ITEMS, DIM), torch.rand(ITEMS, DIM) < 0.5)),
    "perturbation": (GraphPerturbation(), (rows(ITEMS, DIM), torch.rand(ITEMS, DIM))),
    "bpr": (BPRLoss(), (rows(8), rows(8))),
    **{
        f"InfoNCE, {precision}": (InfoNCELoss(precision=precision), (rows(8, 4), rows(8, 4)))
        for precision in ("ieee", "tf32", "bf16")
    },
    "cosine": (CosineLoss(), (rows(8, 3), rows(8, 3))),
}


@pytest.fixture(autouse=True)
def fresh_compiler() -> None:
    torch._dynamo.reset()


@pytest.fixture(autouse=True)
def plain_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have bf16 rounded in software: telling oneDNN to, as with AMX, breaks the graph."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)


@pytest.mark.parametrize("part", PARTS)
def test_dense_parts_compile_without_a_graph_break(part: str) -> None:
    module, arguments = PARTS[part]
    compiled = torch.compile(module, fullgraph=True, backend="eager")  # Raises at a break.
    torch.testing.assert_close(compiled(*arguments), module(*arguments))


def test_the_whole_loss_breaks_where_the_graphs_and_the_generators_are(
    tiny_data: HeteroData,
) -> None:
    model = MENTOR.from_data(tiny_data, MENTORConfig(backend="torch_csr"))
    batch = next(iter(BPRBatches(tiny_data)))
    model.loss(tiny_data, *batch)  # Lays out the graphs.
    breaks = torch._dynamo.explain(model.loss)(tiny_data, *batch).graph_break_count
    # At remembered adjacencies, sparse products and numpy's generator; see docs/backends.md.
    assert 0 < breaks <= 30
