from pathlib import Path

import pytest
import torch

from mentor_pyg.data import INTERACTS, modalities, num_items, num_users, presence
from mentor_pyg.datasets import InteractionFolder

SHARED = Path(__file__).parents[3] / "shared"
COUNTS = {
    "data/baby": (19_445, 7_050, 118_551, 20_559, 21_682),
    "data/sports": (35_598, 18_357, 218_409, 37_899, 40_029),
    "data/tiktok": (9_308, 6_710, 59_541, 3_051, 6_130),
    "reference/golden_tiny": (60, 80, 358, 60, 60),
}
PRESENT = {
    "data/baby": {"textual": 3_416},
    "data/sports": {},
    "data/tiktok": {"visual": 6_710, "acoustic": 6_710},
    "reference/golden_tiny": {"visual": 80, "textual": 80},
}


@pytest.mark.realdata
@pytest.mark.parametrize("folder", COUNTS)
def test_counts(folder: str, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    root = SHARED / folder
    if not root.is_dir():
        pytest.skip(f"needs the data set in {root}")
    data = InteractionFolder(root, cache_dir=tmp_path)[0]
    store = data[INTERACTS]
    splits = (store.edge_index, store.val_edge_label_index, store.test_edge_label_index)
    assert (num_users(data), num_items(data), *(x.size(1) for x in splits)) == COUNTS[folder]
    assert {m: int(presence(data, m).sum()) for m in modalities(data)} == PRESENT[folder]
    assert not [warning for warning in recwarn if "mentor_pyg" in warning.filename]
    # The sources as another parser reads them.
    lines = next(root.glob("*.inter")).read_text().split("\n")[1:-1]
    rows = torch.tensor([[int(field) for field in line.split("\t")] for line in lines]).t()
    for label, split in enumerate(splits):
        expected = rows[:2, rows[2] == label]
        key = expected[0] * num_items(data) + expected[1]
        assert torch.equal(split, expected[:, key.argsort()])
