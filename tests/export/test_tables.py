from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS
from mentor_pyg.export import EmbeddingTables
from mentor_pyg.models import MENTOR, LightGCN, Recommender


@pytest.fixture(params=[MENTOR, LightGCN])
def model(request: pytest.FixtureRequest, tiny_data: HeteroData) -> Recommender:
    return request.param.from_data(tiny_data)


@pytest.fixture
def tables(model: Recommender, tiny_data: HeteroData) -> EmbeddingTables:
    return EmbeddingTables.from_model(model, tiny_data)


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("k", [1, 7, 80])
def test_recommends_what_the_model_does(
    k: int, exclude_seen: bool, model: Recommender, tables: EmbeddingTables, tiny_data: HeteroData
) -> None:
    user = torch.tensor([5, 0, 59, 5])
    item, score = tables.recommend(user, k, exclude_seen)
    expected_item, expected_score = model.recommend(tiny_data, user, k, exclude_seen)
    assert torch.equal(item, expected_item)
    assert torch.equal(score, expected_score)
    assert item.shape == (4, k)


def test_seen_items(tables: EmbeddingTables, tiny_data: HeteroData) -> None:
    user, item = tiny_data[INTERACTS].edge_index
    seen = set(item[user == 3].tolist())
    ranked = tables.recommend(torch.tensor([3]), k=80)[0][0]
    assert set(ranked[ranked >= 0].tolist()) == set(range(80)) - seen
    assert int((ranked == -1).sum()) == len(seen)
    everything = tables.recommend(torch.tensor([3]), k=80, exclude_seen=False)[0][0]
    assert set(everything.tolist()) == set(range(80))


def test_tables_hold_no_gradients(tables: EmbeddingTables) -> None:
    assert not tables.user.requires_grad
    assert not tables.item.requires_grad


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("batch_size", [1, 25, 60, 1000])
def test_recommend_all(batch_size: int, exclude_seen: bool, tables: EmbeddingTables) -> None:
    blocks = list(tables.recommend_all(4, exclude_seen, batch_size))
    assert [block[0].numel() for block in blocks[:-1]] == [batch_size] * (len(blocks) - 1)
    user, item, score = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    assert torch.equal(user, torch.arange(60))
    expected_item, expected_score = tables.recommend(user, 4, exclude_seen)
    assert torch.equal(item, expected_item)
    torch.testing.assert_close(score, expected_score)


def test_save_and_load(tables: EmbeddingTables, tmp_path: Path) -> None:
    path = tmp_path / "tables.safetensors"
    tables.save(path)
    again = EmbeddingTables.load(str(path))
    assert torch.equal(again.user, tables.user)
    assert torch.equal(again.item, tables.item)
    assert torch.equal(again.seen.start, tables.seen.start)
    assert torch.equal(again.seen.item, tables.seen.item)
    assert set(safetensors.torch.load_file(path)) == {"user", "item", "seen.start", "seen.item"}


def test_views_are_saved_whole(tables: EmbeddingTables, tmp_path: Path) -> None:
    # Halves of one tensor, neither contiguous.
    user, item = torch.randn(8, 140).t().split([60, 80])
    EmbeddingTables(user, item, tables.seen).save(tmp_path / "tables.safetensors")
    again = EmbeddingTables.load(tmp_path / "tables.safetensors")
    assert torch.equal(again.user, user)
    assert torch.equal(again.item, item)


def test_load_refuses_truncated_files(tables: EmbeddingTables, tmp_path: Path) -> None:
    path = tmp_path / "tables.safetensors"
    tables.save(path)
    whole = path.read_bytes()
    for size in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"{path} is not a whole safetensors file"):
            EmbeddingTables.load(path)


def test_load_refuses_other_files(tables: EmbeddingTables, tmp_path: Path) -> None:
    path = tmp_path / "tables.safetensors"
    safetensors.torch.save_file({"user": tables.user}, path)
    with pytest.raises(ValueError, match=rf"{path} needs the tensors .* \(got \['user'\]\)"):
        EmbeddingTables.load(path)
    torch.save({"user": tables.user}, path)
    with pytest.raises(ValueError, match=f"{path} is not a whole safetensors file"):
        EmbeddingTables.load(path)
    with pytest.raises(FileNotFoundError):
        EmbeddingTables.load(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("k", [0, -1, 81])
def test_refuses_k(k: int, tables: EmbeddingTables) -> None:
    message = rf"'k' needs to be a positive integer up to the number of items, 80 \(got {k}\)"
    with pytest.raises(ValueError, match=message):
        tables.recommend(torch.tensor([0]), k)
    with pytest.raises(ValueError, match=message):
        next(tables.recommend_all(k))


@pytest.mark.parametrize("user", [-1, 60])
def test_refuses_user_ids(user: int, tables: EmbeddingTables) -> None:
    with pytest.raises(ValueError, match=r"'user' needs ids from 0 to 59"):
        tables.recommend(torch.tensor([0, user]))


def test_to_frame(tables: EmbeddingTables) -> None:
    frame = tables.to_frame(k=80, batch_size=7)
    assert list(frame.columns) == ["user", "rank", "item", "score"]
    item, score = tables.recommend(torch.arange(60), k=80)
    unseen = item >= 0
    assert frame["item"].tolist() == item[unseen].tolist()
    torch.testing.assert_close(torch.tensor(frame["score"].to_numpy()), score[unseen])
    assert (frame.groupby("user")["rank"].max() == unseen.sum(dim=1).numpy()).all()


def test_widths_that_differ(tables: EmbeddingTables, tmp_path: Path) -> None:
    path = tmp_path / "tables.safetensors"
    EmbeddingTables(tables.user, tables.item[:, :-1], tables.seen).save(path)
    with pytest.raises(ValueError, match=rf"{path} .* need one width"):
        EmbeddingTables.load(path)
