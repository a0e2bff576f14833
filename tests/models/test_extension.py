import pytest
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import num_items
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.evaluation import hold_out_items
from mentor_pyg.models import BPRMF, GRCN, BPRMFConfig, MENTORPlus, Popularity, extend
from mentor_pyg.transforms import RemoveModalities

LISTS = ("visual", "textual")


@pytest.fixture
def data() -> HeteroData:
    data = SyntheticMultimodal("tiny")[0].clone()
    generator = torch.Generator().manual_seed(0)
    for modality, share in (("visual", 0.7), ("textual", 0.6)):
        has = torch.rand(80, generator=generator) < share
        data["item"][f"x_{modality}"][~has] = 0
        data["item"][f"has_{modality}"] = has
    return data


def reference(model: BPRMF, data: HeteroData, item: int, k: int) -> torch.Tensor:
    """Return the row of a new item, from the formula."""
    table, scored = model.item_embedding.detach().double(), []
    for other in range(model.num_items):
        shared = [m for m in LISTS if all(data["item"][f"has_{m}"][[item, other]])]
        rows = {m: data["item"][f"x_{m}"].double() for m in shared}
        cosines = [torch.cosine_similarity(x[item], x[other], dim=0).item() for x in rows.values()]
        if shared:
            scored.append((-sum(cosines), other))
    near = [other for _, other in sorted(scored)[:k]]
    return table[near].mean(dim=0) if near else table.mean(dim=0)


def test_tables_of_users_and_items_end_with_the_new_items(data: HeteroData) -> None:
    warm, whole = hold_out_items(data, 0.3)
    model = GRCN.from_data(warm)
    table = torch.arange(60.0 + num_items(warm)).unsqueeze(1).expand(-1, 2)
    model.confidence.data.copy_(table)
    found = extend(model, whole, k=1)
    assert torch.equal(found.confidence[: len(table)], table)
    assert (found.confidence[len(table) :] >= 60).all()


@pytest.mark.parametrize("k", [1, 5, 1000])
def test_a_new_row_is_the_mean_over_the_items_that_resemble_it(data: HeteroData, k: int) -> None:
    warm, whole = hold_out_items(data, 0.3)
    model = BPRMF.from_data(warm, BPRMFConfig(embedding_dim=6))
    found = extend(model, whole, k)
    count, items = num_items(warm), num_items(whole)
    assert torch.equal(found.item_embedding[:count], model.item_embedding)
    assert torch.equal(found.user_embedding, model.user_embedding)
    featureless = 0
    for item in range(count, items):
        row = reference(model, whole, item, k).float()
        assert torch.allclose(found.item_embedding[item], row, atol=1e-6)
        featureless += not any(whole["item"][f"has_{m}"][item] for m in LISTS)
    assert featureless > 0


def test_works_in_blocks(data: HeteroData, monkeypatch: pytest.MonkeyPatch) -> None:
    warm, whole = hold_out_items(data, 0.3)
    model = BPRMF.from_data(warm, BPRMFConfig(embedding_dim=6))
    at_once = extend(model, whole).item_embedding
    monkeypatch.setattr("mentor_pyg.models.extension._BLOCK_ELEMENTS", 100)
    assert torch.allclose(extend(model, whole).item_embedding, at_once, atol=1e-6)


def test_leaves_the_model_as_it_is(data: HeteroData) -> None:
    warm, whole = hold_out_items(data)
    model = MENTORPlus.from_data(warm).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = extend(model, whole)
    found.item_embedding.data.zero_()
    found.user_embedding.data.zero_()
    assert all(torch.equal(model.state_dict()[name], old) for name, old in before.items())
    assert not found.training and extend(model.train(), whole).training
    assert found.config == model.config and num_items(warm) == model.num_items


def test_without_new_items_it_is_the_same_model(data: HeteroData) -> None:
    model = MENTORPlus.from_data(data)
    assert torch.equal(
        extend(model, data).encode(data).item["fused"], model.encode(data).item["fused"]
    )


def test_refuses_what_it_cannot_extend(data: HeteroData) -> None:
    warm, whole = hold_out_items(data)
    model = MENTORPlus.from_data(warm)
    with pytest.raises(TypeError, match=r"fit it to the new data instead: Popularity\.from_data"):
        extend(Popularity.from_data(warm).fit(warm), whole)
    with pytest.raises(ValueError, match="'data' needs the 60 users and at least the 80 items"):
        extend(MENTORPlus.from_data(whole), warm)
    fewer = warm.clone()
    fewer["user"].num_nodes = 61
    with pytest.raises(ValueError, match="'data' needs the 60 users"):
        extend(model, fewer)
    with pytest.raises(ValueError, match="features of the widths"):
        extend(model, RemoveModalities("visual")(whole.clone()))
    for k in (0, True, 2.5):
        with pytest.raises(ValueError, match="'k' needs to be a positive integer"):
            extend(model, whole, k)  # type: ignore[arg-type]
