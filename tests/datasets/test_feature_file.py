import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from mentor_pyg.datasets import feature_file
from mentor_pyg.datasets.feature_file import find_feature_files, read_features


def matrix(rows: int = 5, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, channels))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_npy_dtypes_become_float32(tmp_path: Path, dtype: str) -> None:
    array = matrix().astype(dtype)
    np.save(tmp_path / "x_feat.npy", array)
    x, present = read_features(tmp_path / "x_feat.npy", 5)
    assert x.dtype == torch.float32
    np.testing.assert_array_equal(x.numpy(), array.astype(np.float32))
    assert present.all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_pt_dtypes_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.from_numpy(matrix()).to(dtype).requires_grad_()
    torch.save(tensor, tmp_path / "x_feat.pt")
    x, _ = read_features(tmp_path / "x_feat.pt", 5)
    assert torch.equal(x, tensor.detach().float())
    assert not x.requires_grad


def test_legacy_pt_format(tmp_path: Path) -> None:
    tensor = torch.from_numpy(matrix())
    torch.save(tensor, tmp_path / "x_feat.pt", _use_new_zipfile_serialization=False)
    x, _ = read_features(tmp_path / "x_feat.pt", 5)
    assert torch.equal(x, tensor.float())


def test_fortran_order(tmp_path: Path) -> None:
    np.save(tmp_path / "x_feat.npy", np.asfortranarray(matrix()))
    x, _ = read_features(tmp_path / "x_feat.npy", 5)
    np.testing.assert_array_equal(x.numpy(), matrix().astype(np.float32))


def test_blocks_agree_and_rows_are_counted_over_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_file, "_BLOCK_ELEMENTS", 6)  # two rows
    array = matrix()
    array[1], array[4] = np.nan, 0
    np.save(tmp_path / "x_feat.npy", array)
    x, present = read_features(tmp_path / "x_feat.npy", 5)
    assert present.tolist() == [True, False, True, True, False]
    np.testing.assert_array_equal(x.numpy(), np.nan_to_num(array).astype(np.float32))
    array[4, 1] = -np.inf
    np.save(tmp_path / "x_feat.npy", array)
    with pytest.raises(ValueError, match=r"x_feat.npy: row 4 holds infinite values"):
        read_features(tmp_path / "x_feat.npy", 5)


def test_refuses_values_beyond_float32(tmp_path: Path) -> None:
    array = matrix()
    array[2, 0] = 1e300
    np.save(tmp_path / "x_feat.npy", array)
    with pytest.raises(ValueError, match=r"row 2 .*too large for float32"):
        read_features(tmp_path / "x_feat.npy", 5)


@pytest.mark.parametrize("keep", [0, 4, 40, 150])
def test_refuses_truncated_npy(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "x_feat.npy"
    np.save(path, matrix())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"x_feat.npy cannot be read as a .npy array"):
        read_features(path, 5)


def test_refuses_object_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "x_feat.npy", np.array([[1.0], None], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"x_feat.npy .*pickled objects, which could run code"):
        read_features(tmp_path / "x_feat.npy", 2)


def test_refuses_archives(tmp_path: Path) -> None:
    with open(tmp_path / "x_feat.npy", "wb") as file:
        np.savez(file, a=matrix())
    with pytest.raises(ValueError, match=r"x_feat.npy needs to be one .npy array.*NpzFile"):
        read_features(tmp_path / "x_feat.npy", 5)


class Explosive:
    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("the pickle was executed",)


@pytest.mark.parametrize("suffix", ["npy", "pt"])
def test_never_executes_a_pickle(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x_feat.{suffix}"
    path.write_bytes(pickle.dumps(Explosive(), protocol=2))
    with pytest.raises(ValueError, match=rf"x_feat.{suffix} cannot be read"):
        read_features(path, 5)


def test_refuses_truncated_pt(tmp_path: Path) -> None:
    path = tmp_path / "x_feat.pt"
    torch.save(torch.ones(5, 3), path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"x_feat.pt cannot be read"):
        read_features(path, 5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(5, 3)], "one dense tensor.*list"),
        (torch.ones(5, 3).to_sparse(), "one dense tensor"),
        (torch.ones(5, 3, dtype=torch.long), "floating-point features.*int64.*float()"),
        (torch.ones(5), r"\[num_items, channels\].*\[5\]"),
        (torch.ones(5, 0), r"\[num_items, channels\].*\[5, 0\]"),
        (torch.ones(4, 3), r"one row per item, 5 \(got 4\)"),
    ],
)
def test_refuses_pt_contents(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "x_feat.pt")
    with pytest.raises(ValueError, match=rf"x_feat.pt.*{message}"):
        read_features(tmp_path / "x_feat.pt", 5)


def test_finds_feature_files(tmp_path: Path) -> None:
    for name in ("image_feat.npy", "text_feat.pt", "audio_feat.npy", "tabular_feat.npy"):
        (tmp_path / name).touch()
    for name in ("_feat.npy", "text_feat.npz", "image.npy", "item_text.tsv", "user_graph.npy"):
        (tmp_path / name).touch()
    (tmp_path / "folder_feat.npy").mkdir()
    found = {modality: path.name for modality, path in find_feature_files(tmp_path).items()}
    assert found == {
        "visual": "image_feat.npy",
        "textual": "text_feat.pt",
        "acoustic": "audio_feat.npy",
        "tabular": "tabular_feat.npy",
    }
