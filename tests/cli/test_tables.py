from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mentor_pyg import dependencies
from mentor_pyg.cli.tables import original_ids, table_writer
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.dependencies import MissingPackageError


def parts(fail: bool = False) -> Iterator[pd.DataFrame]:
    yield pd.DataFrame({"user": ["a", "b"], "value": [1 / 3, 0.1]})
    if fail:
        raise ValueError("no more")
    yield pd.DataFrame({"user": ["c"], "value": [2.0]})


WHOLE = pd.DataFrame({"user": ["a", "b", "c"], "value": [1 / 3, 0.1, 2.0]})


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_writes_what_it_is_given(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"table{suffix}"
    table_writer(path, False, "out")(parts())
    assert capsys.readouterr().out == f"written to {path}\n"
    if suffix == ".csv":
        found = pd.read_csv(path, converters={"value": float})
    else:
        found = pd.read_parquet(path)
    pd.testing.assert_frame_equal(found, WHOLE, check_exact=True)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_is_whole_or_as_before(suffix: str, tmp_path: Path) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"table{suffix}"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="exists; give --force to replace it"):
        table_writer(path, False, "out")
    with pytest.raises(ValueError, match="no more"):
        table_writer(path, True, "out")(parts(fail=True))
    assert path.read_text() == "mine"
    table_writer(path, True, "out")(parts())
    assert path.read_bytes() != b"mine"
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_refuses_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"'per-user' needs to end in .csv or .parquet \(got "):
        table_writer(tmp_path / "table.txt", False, "per-user")
    monkeypatch.setattr(dependencies, "has_package", lambda name: name != "pyarrow")
    with pytest.raises(
        MissingPackageError, match=r"'pyarrow'.* extra 'parquet'.*or write a \.csv file"
    ):
        table_writer(tmp_path / "table.parquet", False, "out")
    table_writer(tmp_path / "table.csv", False, "out")(parts())


def test_original_ids() -> None:
    data = SyntheticMultimodal("tiny", modalities=())[0]
    assert original_ids(data) == {}
    data["user"].raw_id = [f"u{n}" for n in range(60)]
    assert original_ids(data).keys() == {"user"}
    data["item"].raw_id = torch.arange(80) + 100
    found = original_ids(data)
    assert found["user"][[7, 3]].tolist() == ["u7", "u3"]
    assert found["item"].dtype == np.int64 and found["item"][3] == 103
