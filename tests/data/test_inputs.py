import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import Inputs
from mentor_pyg.models import BPRMF, LightGCN


def test_ids_stay_integers(tiny_data: HeteroData) -> None:
    """To another type they are not moved: edges would be floats, and nobody would say so."""
    inputs = BPRMF.from_data(tiny_data).prepare(tiny_data)
    graph = LightGCN.from_data(tiny_data).prepare(tiny_data).graphs["interaction"]
    for moved in (inputs, graph):
        with pytest.raises(TypeError, match=r"'device' needs to be .* \(got torch.float64\)"):
            moved.to(torch.float64)  # type: ignore[arg-type]
    assert isinstance(inputs.to("cpu"), Inputs)
