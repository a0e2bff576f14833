"""Features of sound, by a model of transformers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mentor_pyg.dependencies import require
from mentor_pyg.devices import resolve_device
from mentor_pyg.features.models import load_pretrained, load_whole, state_sha256
from mentor_pyg.features.writing import Features, UnusableError

__all__ = ["AUDIO_MODEL", "AudioEncoder", "open_sound"]

AUDIO_MODEL = "facebook/wav2vec2-base"
_MOST_SECONDS = 30
"""What comes after these is not read."""
_HIGHEST_RATE = 1_000_000
"""Above what any recorder has; resampling takes memory by the rate."""


def open_sound(path: Path, rate: int) -> np.ndarray[Any, Any]:
    """Return the first 30 seconds of a file as one channel ``[num_samples]`` at a sampling rate.

    Raises:
        MissingPackageError: If soundfile or SciPy is not installed.
        UnusableError: If the file is no sound, broken or empty, or its sampling rate is absurd.
    """
    soundfile: Any = require("soundfile", extra="audio", purpose="Reading sound")
    signal: Any = require("scipy.signal", extra="train", purpose="Resampling sound")
    try:
        with soundfile.SoundFile(path) as file:
            own = file.samplerate
            if own > _HIGHEST_RATE:
                raise UnusableError(f"its sound has a sampling rate of {own:,}, too high")
            samples = file.read(_MOST_SECONDS * own, dtype="float32", always_2d=True)
        if not len(samples):
            raise UnusableError("its sound is empty")
        if not np.isfinite(samples).all():
            raise UnusableError("its sound is not finite")
        common = math.gcd(own, rate)
        mono = signal.resample_poly(samples.mean(axis=1), rate // common, own // common)
    except UnusableError:
        raise
    except (RuntimeError, OSError, ValueError, MemoryError) as error:
        raise UnusableError(f"its sound cannot be read ({type(error).__name__})") from error
    return np.asarray(mono, dtype=np.float32)


class AudioEncoder:
    """Embeds sound by a model of the transformers library: the mean of its last hidden states.

    Args:
        model: The name of a model on the Hugging Face Hub, or a folder that holds one.
        device: Where it runs: ``auto``, ``cpu``, ``cuda`` or ``cuda:<index>``.

    Raises:
        MissingPackageError: If transformers is not installed.
        ValueError: If there is no such device, or the model cannot be loaded.
    """

    suffixes = (
        *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus"),
        *(".aif", ".aifc", ".aiff", ".au", ".caf", ".snd", ".w64"),
    )
    """What the names of sounds end in."""

    def __init__(self, model: str = AUDIO_MODEL, device: str = "cpu") -> None:
        self.device = resolve_device(device)
        library: Any = require("transformers", extra="audio", purpose="Embedding sound")
        self.extractor = load_pretrained(library.AutoFeatureExtractor.from_pretrained, model)
        self.model = load_whole(library.AutoModel, model, self.device)
        self.rate = int(self.extractor.sampling_rate)
        self.shortest = _shortest(self.model.config, self.rate)
        self.about = {
            "model": model,
            "sha256": state_sha256(self.model),
            "rate": self.rate,
            "transformers": library.__version__,
        }

    def read(self, path: Path) -> np.ndarray[Any, Any]:
        """Return a sound as the model takes it.

        Raises:
            UnusableError: As :func:`open_sound` says, or if it is too short for the model.
        """
        sound = open_sound(path, self.rate)
        if len(sound) < self.shortest:
            raise UnusableError("its sound is too short")
        return sound

    def __call__(self, sounds: list[np.ndarray[Any, Any]]) -> Features:
        """Return the features ``[num_sounds, channels]``; each sound runs by itself."""
        rows = []
        for sound in sounds:
            inputs = self.extractor(sound, sampling_rate=self.rate, return_tensors="pt")
            with torch.inference_mode():
                states = self.model(**inputs.to(self.device)).last_hidden_state
            rows.append(states[0].mean(dim=0).float().cpu().numpy())
        return np.stack(rows)


def _shortest(config: Any, rate: int) -> int:
    """Return the fewest samples that a model makes a state of.

    Models without convolutions over samples take spectrograms, of windows of 25 milliseconds.
    """
    kernels = getattr(config, "conv_kernel", None)
    if kernels is None:
        return rate // 40
    length: int = getattr(config, "squeeze_factor", 1)  # States that SEW makes one of.
    for kernel, stride in zip(reversed(kernels), reversed(config.conv_stride), strict=True):
        length = (length - 1) * stride + kernel
    return length
