import pytest
import torch
from torch_geometric.data import HeteroData


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture
def data(tiny_data: HeteroData, device: torch.device) -> HeteroData:
    return tiny_data.clone().to(device)


@pytest.fixture
def recorded(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no CUDA, a recording is the step itself: the wiring is what is tested."""
    if device.type == "cpu":
        monkeypatch.setattr(
            "mentor_pyg.models.captured_step._record", lambda step, device: step() or step
        )
