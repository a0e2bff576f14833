import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from examples.your_own_model import Content
from mentor_pyg.data import ITEM, USER, Scorer, edge_label_index
from mentor_pyg.evaluation import full_ranking
from mentor_pyg.export import EmbeddingTables
from mentor_pyg.models import BPRMF, MENTOR, LightGCN, Recommender
from tests.models.outsiders import MetricMF

USERS = [f"user {n}" for n in range(60)]
ITEMS = list(range(1000, 920, -1))


@pytest.fixture
def model(tiny_data: HeteroData) -> Recommender:
    return LightGCN.from_data(tiny_data)


@pytest.fixture
def tables(model: Recommender, tiny_data: HeteroData) -> EmbeddingTables:
    return EmbeddingTables.from_model(model, tiny_data)


@pytest.fixture
def named(tiny_data: HeteroData) -> EmbeddingTables:
    """Tables of data with original ids: texts for users, integers for items."""
    tiny_data[USER].raw_id, tiny_data[ITEM].raw_id = USERS, torch.tensor(ITEMS)
    return EmbeddingTables.from_model(BPRMF.from_data(tiny_data), tiny_data)


def pairs(user: Tensor, item: Tensor) -> set[tuple[int, int]]:
    return {(u, i) for u, row in zip(user.tolist(), item.tolist(), strict=True) for i in row}


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("model_class", [MENTOR, LightGCN])
def test_recommends_what_the_model_does(
    model_class: type[Recommender], exclude_seen: bool, tiny_data: HeteroData
) -> None:
    model = model_class.from_data(tiny_data)
    tables = EmbeddingTables.from_model(model, tiny_data)
    user, splits = torch.tensor([5, 0, 59, 5]), ("train", "val", "test")
    for k in (1, 80):
        item, score = tables.recommend(user, k, exclude_seen)
        expected = model.recommend(tiny_data, user, k, exclude_seen, exclude=splits)
        assert torch.equal(item, expected[0])
        assert torch.equal(score, expected[1])
        assert item.shape == (4, k)
    assert isinstance(tables, Scorer)
    assert torch.equal(tables.scores(user), model.encode(tiny_data).scores(user))


def test_held_out_purchases_do_not_come_back(model: Recommender, tiny_data: HeteroData) -> None:
    def recommended(*exclude: Any) -> set[tuple[int, int]]:
        tables = EmbeddingTables.from_model(model, tiny_data, *exclude)
        return pairs(torch.arange(60), tables.recommend(torch.arange(60), k=80)[0])

    def bought(split: Any) -> set[tuple[int, int]]:
        return set(zip(*edge_label_index(tiny_data, split).tolist(), strict=True))

    every = {(user, item) for user in range(60) for item in range(80)}
    absent = {(user, -1) for user in range(60)}
    assert recommended() - absent == every - bought("train") - bought("val") - bought("test")
    assert recommended(("train",)) - absent == every - bought("train")
    assert recommended(()) == every


def test_a_model_recommends_without_the_splits_it_is_told(tiny_data: HeteroData) -> None:
    model, user = BPRMF.from_data(tiny_data), torch.arange(60)
    test = set(zip(*edge_label_index(tiny_data, "test").tolist(), strict=True))
    train = model.recommend(tiny_data, user, 80)[0]
    assert test <= pairs(user, train)
    both = model.recommend(tiny_data, user, 80, exclude=("train", "test"))[0]
    assert test.isdisjoint(pairs(user, both))


def test_encodes_in_evaluation_mode(tiny_data: HeteroData) -> None:
    model = Content.from_data(tiny_data)  # With dropout.
    first, second = (EmbeddingTables.from_model(model, tiny_data) for _ in range(2))
    assert torch.equal(first.item, second.item)
    assert all(module.training for module in model.modules())


def test_tables_own_their_memory(tiny_data: HeteroData) -> None:
    model = BPRMF.from_data(tiny_data)
    tables = EmbeddingTables.from_model(model, tiny_data)
    expected = model.user_embedding.detach().clone(), model.item_embedding.detach().clone()
    with torch.no_grad():
        model.user_embedding.zero_()
        model.item_embedding.zero_()
    for table, before in zip((tables.user, tables.item), expected, strict=True):
        assert torch.equal(table, before)
        assert not table.requires_grad


def test_refuses_models_that_score_otherwise(tiny_data: HeteroData) -> None:
    with pytest.raises(TypeError, match=r"but MetricMF scores items otherwise; recommend from"):
        EmbeddingTables.from_model(MetricMF.from_data(tiny_data), tiny_data)


def test_are_ranked_like_representations(tables: EmbeddingTables, tiny_data: HeteroData) -> None:
    expected = full_ranking(tables.representations, tiny_data, k=5)
    assert full_ranking(tables, tiny_data, k=5) == expected


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("batch_size", [25, 60, 1000])
def test_recommend_all(batch_size: int, exclude_seen: bool, tables: EmbeddingTables) -> None:
    blocks = list(tables.recommend_all(4, exclude_seen, batch_size))
    assert [block[0].numel() for block in blocks[:-1]] == [batch_size] * (len(blocks) - 1)
    user, item, score = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    assert torch.equal(user, torch.arange(60))
    expected_item, expected_score = tables.recommend(user, 4, exclude_seen)
    assert torch.equal(item, expected_item)
    torch.testing.assert_close(score, expected_score)


def test_one_user_and_lists(tables: EmbeddingTables) -> None:
    expected = tables.recommend(torch.tensor([7]), 3)[0]
    for user in (7, np.int64(7), [7]):
        assert torch.equal(tables.recommend(user, np.int64(3))[0], expected)


def test_original_ids(named: EmbeddingTables, tiny_data: HeteroData, tmp_path: Path) -> None:
    named.save(tmp_path / "tables.safetensors")
    again = EmbeddingTables.load(tmp_path / "tables.safetensors")
    assert (again.user_raw_id, again.item_raw_id) == (USERS, ITEMS)
    for tables in (named, again):
        item, _ = tables.recommend(["user 59", "user 3"], 4)
        assert torch.equal(item, named.recommend([59, 3], 4)[0])
        frame = tables.to_frame(4, user=["user 59", "user 3"], original_ids=True)
        assert frame["user"].tolist() == ["user 59"] * 4 + ["user 3"] * 4
        assert frame["item"].tolist() == [1000 - n for n in item.flatten().tolist()]
        assert frame["item"].dtype == np.int64
    model = BPRMF.from_data(tiny_data)
    found = model.recommend(tiny_data, "user 3", 4)[0]
    assert torch.equal(found, model.recommend(tiny_data, [3], 4)[0])


def test_original_ids_need_to_be_known(named: EmbeddingTables, tables: EmbeddingTables) -> None:
    with pytest.raises(ValueError, match="'user 60'"):
        named.recommend("user 60")
    with pytest.raises(ValueError, match=r"'original_ids' .*have none of the users"):
        EmbeddingTables(tables.user, tables.item, tables.seen).to_frame(3, original_ids=True)
    with pytest.raises(ValueError, match=r"user_raw_id needs 60 ids \(got 1\)"):
        EmbeddingTables(tables.user, tables.item, tables.seen, ["one"])


def test_save_and_load(tables: EmbeddingTables, tmp_path: Path) -> None:
    path = tmp_path / "tables.safetensors"
    tables.save(path, {"made of": "tiny"})
    again = EmbeddingTables.load(str(path))
    assert torch.equal(again.user, tables.user)
    assert torch.equal(again.item, tables.item)
    assert torch.equal(again.seen.start, tables.seen.start)
    assert torch.equal(again.seen.item, tables.seen.item)
    assert (again.user_raw_id, again.item_raw_id) == (None, None)
    with safetensors.safe_open(path, framework="pt") as file:
        assert set(file.keys()) == {"user", "item", "seen.start", "seen.item"}
        assert file.metadata() == {"made of": "tiny"}


def test_makes_the_folder_of_its_file(tables: EmbeddingTables, tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "tables.safetensors"
    tables.save(path)
    assert torch.equal(EmbeddingTables.load(path).item, tables.item)


def test_others_may_read_the_file(tables: EmbeddingTables, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        tables.save(tmp_path / "tables.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "tables.safetensors").stat().st_mode & 0o777 == 0o644


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


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"item": torch.rand(80, 3)}, r"of one width \(got \[60, 64\] and \[80, 3\]\)"),
        ({"item": torch.rand(80, 64).half()}, "one floating-point type"),
        ({"user": torch.ones(60, 64).long(), "item": torch.ones(80, 64).long()}, "floating-point"),
        ({"seen.item": torch.ones(3)}, r"need to be int64 \(got torch.int64 and torch.float32\)"),
        ({"seen.start": torch.zeros(60).long()}, r"need the shapes \[61\]"),
        ({"seen.start": torch.zeros(61).long()}, "one after another"),
        ({"seen.start": torch.full((61,), 8)}, "one after another"),
        ({"seen.start": torch.tensor([0, 9, *[8] * 59])}, "one after another"),
        ({"seen.item": torch.full((8,), 80)}, r"ids from 0 to 79 \(got 80 to 80\)"),
        ({"seen.item": torch.full((8,), -1)}, r"ids from 0 to 79 \(got -1 to -1\)"),
        ({"item.raw_id": torch.tensor(list(b"[1, 2]"), dtype=torch.uint8)}, "needs 80 ids"),
        ({"user.raw_id": torch.tensor(list(b"{}"), dtype=torch.uint8)}, "a JSON list"),
        ({"user.raw_id": torch.tensor(list(b"[1"), dtype=torch.uint8)}, "Expecting"),
    ],
)
def test_load_refuses_tables_that_do_not_fit(
    changed: dict[str, Tensor], message: str, tmp_path: Path
) -> None:
    tensors = {"user": torch.rand(60, 64), "item": torch.rand(80, 64)}
    tensors |= {"seen.start": torch.tensor([0, *[8] * 60]), "seen.item": torch.arange(8)}
    path = tmp_path / "tables.safetensors"
    safetensors.torch.save_file({**tensors, **changed}, path)
    with pytest.raises(ValueError, match=rf"{path} holds tables that do not fit.*{message}"):
        EmbeddingTables.load(path)


@pytest.mark.parametrize("k", [0, 81])
def test_refuses_k(k: int, tables: EmbeddingTables) -> None:
    message = rf"'k' needs to be a positive integer up to the number of items, 80 \(got {k}\)"
    with pytest.raises(ValueError, match=message):
        tables.recommend(torch.tensor([0]), k)
    with pytest.raises(ValueError, match=message):
        next(tables.recommend_all(k))


def test_refuses_user_ids(tables: EmbeddingTables) -> None:
    with pytest.raises(ValueError, match=r"'user' needs ids from 0 to 59"):
        tables.recommend(torch.tensor([0, 60]))


def test_to_frame(tables: EmbeddingTables) -> None:
    frame = tables.to_frame(k=80, batch_size=7)
    assert list(frame.columns) == ["user", "rank", "item", "score"]
    item, score = tables.recommend(torch.arange(60), k=80)
    unseen = item >= 0
    assert frame["item"].tolist() == item[unseen].tolist()
    torch.testing.assert_close(torch.tensor(frame["score"].to_numpy()), score[unseen])
    assert (frame.groupby("user")["rank"].max() == unseen.sum(dim=1).numpy()).all()
