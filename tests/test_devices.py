import pytest
import torch

from mentor_pyg.devices import float32_products, resolve_device


def test_cuda_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"'device' is 'cuda', but torch finds 0 .*; use 'cpu'"):
        resolve_device("cuda")
    assert resolve_device("auto") == torch.device("cpu")


def test_several_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"'device' is 'cuda:2', but .* a lower index"):
        resolve_device("cuda:2")
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    assert resolve_device("auto") == torch.device("cuda", 0)
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("before", ["none", "ieee", "tf32"])
@pytest.mark.parametrize("precision", ["ieee", "tf32"])
def test_puts_the_setting_of_torch_back(device: str, before: str, precision: str) -> None:
    products = {"cpu": torch.backends.mkldnn, "cuda": torch.backends.cuda}[device].matmul
    initial = products.fp32_precision
    products.fp32_precision = before
    # Where nothing is set, torch rounds nothing.
    wanted = {"ieee": ("ieee", "none"), "tf32": ("tf32",)}[precision]
    try:
        with float32_products(device, precision):
            assert products.fp32_precision in wanted
        assert products.fp32_precision == before
        with pytest.raises(KeyError), float32_products(device, precision):
            raise KeyError
        assert products.fp32_precision == before
    finally:
        products.fp32_precision = initial


def test_what_is_inherited_stays_inherited() -> None:
    products = torch.backends.mkldnn.matmul
    initial = torch.backends.fp32_precision
    try:
        torch.backends.fp32_precision = "tf32"
        with float32_products("cpu"):
            assert products.fp32_precision == "ieee"
        assert products.fp32_precision == "tf32"
        torch.backends.fp32_precision = "ieee"
        assert products.fp32_precision == "ieee"
    finally:
        torch.backends.fp32_precision = initial
