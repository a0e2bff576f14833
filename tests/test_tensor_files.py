import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from mentor_pyg.tensor_files import checksum, load_checked, save_checked, save_tensors


def tensors() -> dict[str, Tensor]:
    return {
        "x": torch.tensor([[1.5, -2.0], [0.0, 3.0]]),
        "mask": torch.tensor([True, False]),
        "empty": torch.empty(2, 0, dtype=torch.long),
        "scalar": torch.tensor(3, dtype=torch.bfloat16),
    }


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_tensors_get_the_permissions_that_the_umask_gives(
    tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        save_tensors(tensors(), tmp_path / "a.safetensors", {"about": "this"})
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == mode


def test_save_tensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    x = torch.rand(3, 4, requires_grad=True)
    save_tensors({"x": x, "y": x.t()[1:]}, path, {"about": "this"})
    loaded = safetensors.torch.load_file(path)
    assert torch.equal(loaded["x"], x)
    assert torch.equal(loaded["y"], x.t()[1:])
    with safetensors.safe_open(path, framework="pt") as file:
        assert file.metadata() == {"about": "this"}


def test_checksum_depends_on_names_types_shapes_values_and_text() -> None:
    x = torch.tensor([[1, 2], [3, 4]])
    expected = checksum({"x": x, "y": x}, "text")
    assert expected == checksum({"y": x.t().contiguous().t(), "x": EdgeIndex(x)}, "text")
    others = [
        checksum({"x": x, "z": x}, "text"),
        checksum({"x": x, "y": x.int()}, "text"),
        checksum({"x": x, "y": x.view(4)}, "text"),
        checksum({"x": x, "y": x.t()}, "text"),
        checksum({"x": x, "y": x}, "texts"),
        checksum({"x": x}, "text"),
    ]
    assert len({expected, *others}) == 7
    one, other = torch.tensor([1.0, 0.0]), torch.tensor([1.0, -0.0])
    assert checksum({"x": one}) != checksum({"x": other})


def test_checked_tensors_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checked(tensors(), path, '{"a": 1}')
    loaded, metadata = load_checked(path)
    assert metadata == '{"a": 1}'
    assert loaded.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)
    path.write_bytes(b"\0" * path.stat().st_size)  # they do not change with the file
    assert torch.equal(loaded["x"], tensors()["x"])


def test_every_flipped_bit_and_lost_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checked(tensors(), path, "text")
    content = path.read_bytes()
    flipped = [bytearray(content) for _ in content]
    for position, damaged in enumerate(flipped):
        damaged[position] ^= 1 << position % 8
    for damaged in (*flipped, content[:-1], content[:9], b"", content + b" "):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=str(path)):
            load_checked(path)


def test_files_without_a_checksum_are_not_trusted(tmp_path: Path) -> None:
    save_tensors(tensors(), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"a.safetensors is damaged"):
        load_checked(tmp_path / "a.safetensors")
