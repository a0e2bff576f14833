import pytest
from torch_geometric.data import HeteroData

from mentor_pyg.data import ITEM, USER, num_items, num_users


@pytest.fixture
def named_data(tiny_data: HeteroData) -> HeteroData:
    """A small dataset with original ids."""
    tiny_data[USER].raw_id = [f"u{n:03}" for n in range(num_users(tiny_data))]
    tiny_data[ITEM].raw_id = ["NA", "007", *(f"i{n}" for n in range(2, num_items(tiny_data)))]
    return tiny_data
