from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mentor_pyg.features import TextEncoder, UnusableError, joined_text

transformers: Any = pytest.importorskip("transformers")
library: Any = pytest.importorskip("sentence_transformers")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence transformer of a random BERT with a few words."""
    import torch

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "soft", "baby", "toy", "seat", "red"]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizerFast(vocab_file=str(folder / "vocab.txt"))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    out = tmp_path_factory.mktemp("model")
    sentences = library.SentenceTransformer(str(folder), device="cpu")  # Adds mean pooling.
    sentences.max_seq_length = 16
    sentences.save(str(out))
    return out


def test_embeds_texts(model: Path) -> None:
    encoder = TextEncoder(str(model))
    found = encoder(["soft baby toy", "red seat", "soft baby toy"])
    assert found.shape == (3, 8) and found.dtype == np.float32
    expected = library.SentenceTransformer(str(model), device="cpu").encode(["red seat"])
    np.testing.assert_allclose(found[1], expected[0], atol=1e-6)
    np.testing.assert_allclose(found[0], found[2], atol=1e-6)
    assert not np.allclose(found[0], found[1])
    assert np.array_equal(encoder(["soft baby toy", "red seat", "soft baby toy"]), found)


def test_long_texts_are_cut_by_the_model(model: Path) -> None:
    encoder = TextEncoder(str(model))
    long = " ".join(["toy"] * 10_000)
    np.testing.assert_allclose(encoder([long]), encoder([long + " seat"]), atol=1e-6)


def test_other_weights_are_another_model(model: Path, tmp_path: Path) -> None:
    other = library.SentenceTransformer(str(model), device="cpu")
    next(other.parameters()).data += 1
    other.save(str(tmp_path / "other"))
    about = [TextEncoder(str(path)).about["sha256"] for path in (model, model, tmp_path / "other")]
    assert about[0] == about[1] != about[2]


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"'model' .*empty' cannot be loaded.*give a folder"):
        TextEncoder(str(tmp_path / "empty"))


def test_no_text_is_no_features() -> None:
    assert joined_text([["Soft.", "Washable."], [], None, "x"]) == "Soft. Washable.\nx"
    assert joined_text([" Red seat ", None, "", "soft"]) == "Red seat\nsoft"
    for values in ([], [None], ["", "  \n"]):
        with pytest.raises(UnusableError, match="there is no text"):
            joined_text(values)
    assert len(joined_text(["x" * 10**6, "y" * 10**6])) == 100_000


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'device' needs to be 'auto', 'cpu', 'cuda' or"):
        TextEncoder(str(tmp_path), device="banana")
