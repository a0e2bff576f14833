import logging
from pathlib import Path

import pytest

from mentor_pyg.datasets.checksums import PUBLISHED_SHA256, log_published


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
    for files in PUBLISHED_SHA256.values():
        assert all(len(bytes.fromhex(checksum)) == 32 for checksum in files.values())
