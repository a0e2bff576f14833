import logging
from pathlib import Path

import pytest

from mentor_pyg.data import INTERACTS
from mentor_pyg.datasets import InteractionFolder, SyntheticMultimodal
from mentor_pyg.datasets import checksums as module
from mentor_pyg.datasets.checksums import (
    PUBLISHED_SHA256,
    PUBLISHED_SPLITS,
    PublishedSplits,
    log_published,
    splits_verdict,
)
from mentor_pyg.tensor_files import checksum

REAL = Path(__file__).parents[3] / "shared" / "data"


def test_logs_known_files_only(caplog: pytest.LogCaptureFixture) -> None:
    published = PUBLISHED_SHA256["baby"]["baby.inter"]
    checksums = {Path("baby.inter"): published, Path("text_feat.npy"): "0", Path("other"): "1"}
    with caplog.at_level(logging.INFO):
        log_published("baby", checksums)
        log_published("mine", checksums)
    assert [record.getMessage() for record in caplog.records] == [
        f"baby.inter is the published file (SHA-256 {published})",
        "text_feat.npy is not the published file (SHA-256 0)",
    ]


def test_checksums_are_sha256() -> None:
    published = [found for files in PUBLISHED_SHA256.values() for found in files.values()]
    for found in (*published, *(splits.sha256 for splits in PUBLISHED_SPLITS.values())):
        assert len(bytes.fromhex(found)) == 32


def test_tells_published_splits_from_lookalikes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = SyntheticMultimodal("tiny")[0]
    store = data[INTERACTS]
    assert splits_verdict(data) is None
    splits = {
        "train": store.edge_index,
        "val": store.val_edge_label_index,
        "test": store.test_edge_label_index,
    }
    counts = (data["user"].num_nodes, data["item"].num_nodes)
    known = {"Tiny": PublishedSplits(*counts, checksum(splits))}
    monkeypatch.setattr(module, "PUBLISHED_SPLITS", known)
    assert splits_verdict(data) == "the splits are those of Tiny that papers report on"
    other = store.val_edge_label_index, store.test_edge_label_index
    store.test_edge_label_index, store.val_edge_label_index = other
    verdict = splits_verdict(data)
    assert verdict is not None and verdict.startswith("as many users and items as Tiny has, but")
    data["user"].num_nodes += 1
    assert splits_verdict(data) is None


@pytest.mark.realdata
@pytest.mark.parametrize("name", PUBLISHED_SPLITS)
def test_knows_published_splits(name: str, tmp_path: Path) -> None:
    folder = REAL / name.lower()
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    data = InteractionFolder(folder, cache_dir=tmp_path)[0]
    assert splits_verdict(data) == f"the splits are those of {name} that papers report on"
