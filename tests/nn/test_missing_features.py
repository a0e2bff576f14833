import torch

from mentor_pyg.nn import MissingFeatures


def test_only_what_is_missing_is_replaced() -> None:
    module = MissingFeatures({"visual": 3, "textual": 2})
    features = {"visual": torch.randn(4, 3), "textual": torch.randn(4, 2)}
    present = {"visual": torch.tensor([True, False, True, False])}
    found = module(features, present)
    assert found["textual"] is features["textual"]
    assert torch.equal(found["visual"][[0, 2]], features["visual"][[0, 2]])
    assert torch.equal(found["visual"][[1, 3]], module.vectors["visual"].detach().repeat(2, 1))


def test_vectors_are_about_one_long() -> None:
    vector = MissingFeatures({"visual": 10_000}).vectors["visual"]
    assert 0.9 < vector.detach().norm() < 1.1
