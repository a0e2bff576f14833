from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mentor_pyg.features import AudioEncoder, UnusableError, open_sound

transformers: Any = pytest.importorskip("transformers")
soundfile: Any = pytest.importorskip("soundfile")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random wav2vec 2.0 of one layer."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(5, 2),
        conv_kernel=(10, 3),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    transformers.Wav2Vec2Model(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=16_000).save_pretrained(folder)
    return folder


def tone(path: Path, hertz: float, rate: int = 16_000, seconds: float = 0.5) -> Path:
    time = np.arange(int(rate * seconds)) / rate
    soundfile.write(path, np.stack([np.sin(2 * np.pi * hertz * time)] * 2, axis=1), rate)
    return path


def test_embeds_the_mean_of_the_last_states(model: Path, tmp_path: Path) -> None:
    encoder = AudioEncoder(str(model))
    sounds = [open_sound(tone(tmp_path / f"{h}.wav", h), 16_000) for h in (200, 900)]
    found = encoder(sounds)
    assert found.shape == (2, 8)
    reference = transformers.Wav2Vec2Model.from_pretrained(model).eval()
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(model)
    inputs = extractor(sounds[1], sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        expected = reference(**inputs).last_hidden_state[0].mean(dim=0)
    np.testing.assert_allclose(found[1], expected.numpy(), atol=1e-5)
    assert np.array_equal(encoder(sounds[1:])[0], found[1])  # Others in the batch do not matter.


def test_sound_is_one_channel_at_the_rate_of_the_model(tmp_path: Path) -> None:
    found = open_sound(tone(tmp_path / "a.flac", 440, rate=44_100), 16_000)
    assert found.shape == (8000,) and found.dtype == np.float32
    peak = np.abs(np.fft.rfft(found)).argmax() / 0.5
    assert peak == 440
    long = open_sound(tone(tmp_path / "long.wav", 440, rate=8_000, seconds=31), 8_000)
    assert len(long) == 30 * 8_000


def test_what_is_no_sound_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not a sound")
    (tmp_path / "cut.wav").write_bytes(tone(tmp_path / "a.wav", 440).read_bytes()[:20])
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 1)), 16_000)
    for name, reason in (("text", "cannot be read"), ("cut", "cannot be read"), ("empty", "empty")):
        with pytest.raises(UnusableError, match=reason):
            open_sound(tmp_path / f"{name}.wav", 16_000)


@pytest.mark.parametrize("rate", [0, 1_000_001, 2**31 - 1])
def test_a_sampling_rate_that_no_sound_has_is_refused(tmp_path: Path, rate: int) -> None:
    sound = bytearray(tone(tmp_path / "a.wav", 440).read_bytes())
    sound[24:28] = rate.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(sound)
    with pytest.raises(UnusableError, match=r"sampling rate of [\d,]+, too high|cannot be read"):
        open_sound(tmp_path / "a.wav", 16_000)


def test_what_resampling_has_no_memory_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("scipy.signal.resample_poly", full)
    with pytest.raises(UnusableError, match=r"cannot be read \(MemoryError\)"):
        open_sound(tone(tmp_path / "a.wav", 440, rate=44_100), 16_000)


def spectrogram_model(folder: Path) -> Path:
    """Save a random audio spectrogram transformer of one layer."""
    config = transformers.ASTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_mel_bins=32,
    )
    transformers.ASTModel(config).save_pretrained(folder)
    transformers.ASTFeatureExtractor(num_mel_bins=32).save_pretrained(folder)
    return folder


def squeezing_model(folder: Path) -> Path:
    """Save a random SEW of one layer, which makes one state of two."""
    config = transformers.SEWConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        conv_dim=(8, 8), conv_stride=(5, 2), conv_kernel=(10, 3),
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    transformers.SEWModel(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=16_000).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("make", "shortest"), [(None, 20), (squeezing_model, 30), (spectrogram_model, 400)]
)
def test_a_sound_that_is_too_short_for_the_model_says_so(
    model: Path, tmp_path: Path, make: Any, shortest: int
) -> None:
    encoder = AudioEncoder(str(model if make is None else make(tmp_path / "model")))
    for samples in (1, shortest - 1, shortest):
        noise = np.random.default_rng(0).uniform(-1, 1, samples)
        soundfile.write(tmp_path / f"{samples}.wav", noise, 16_000)
    for samples in (1, shortest - 1):
        with pytest.raises(UnusableError, match="its sound is too short"):
            encoder.read(tmp_path / f"{samples}.wav")
    found = encoder([encoder.read(tmp_path / f"{shortest}.wav")])
    assert found.shape == (1, 8) and np.isfinite(found).all()


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot be loaded.*give a folder"):
        AudioEncoder(str(tmp_path))


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'device' needs to be 'auto', 'cpu', 'cuda' or"):
        AudioEncoder(str(tmp_path), device="banana")
