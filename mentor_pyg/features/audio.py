"""Features of sound, by a model of transformers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mentor_pyg.dependencies import require
from mentor_pyg.features.models import load_pretrained, load_whole, state_sha256
from mentor_pyg.features.writing import Features, UnusableError

__all__ = ["AUDIO_MODEL", "AudioEncoder", "open_sound"]

AUDIO_MODEL = "facebook/wav2vec2-base"
_MOST_SECONDS = 30
"""What comes after these is not read."""


def open_sound(path: Path, rate: int) -> np.ndarray[Any, Any]:
    """Return the first 30 seconds of a file as one channel ``[num_samples]`` at a sampling rate.

    Raises:
        MissingPackageError: If soundfile or SciPy is not installed.
        UnusableError: If the file is no sound, broken or empty.
    """
    soundfile: Any = require("soundfile", extra="audio", purpose="Reading sound")
    signal: Any = require("scipy.signal", extra="train", purpose="Resampling sound")
    try:
        with soundfile.SoundFile(path) as file:
            own = file.samplerate
            samples = file.read(_MOST_SECONDS * own, dtype="float32", always_2d=True)
    except (RuntimeError, OSError, ValueError, MemoryError) as error:
        raise UnusableError(f"its sound cannot be read ({type(error).__name__})") from error
    if not len(samples) or not np.isfinite(samples).all():
        raise UnusableError("its sound is empty" if not len(samples) else "its sound is not finite")
    mono = samples.mean(axis=1)
    if own != rate:
        common = math.gcd(own, rate)
        mono = signal.resample_poly(mono, rate // common, own // common)
    return np.asarray(mono, dtype=np.float32)


class AudioEncoder:
    """Embeds sound by a model of the transformers library: the mean of its last hidden states.

    Args:
        model: The name of a model on the Hugging Face Hub, or a folder that holds one.
        device: Where it runs.

    Raises:
        MissingPackageError: If transformers is not installed.
        ValueError: If the model cannot be loaded.
    """

    def __init__(self, model: str = AUDIO_MODEL, device: str = "cpu") -> None:
        library: Any = require("transformers", extra="audio", purpose="Embedding sound")
        self.extractor = load_pretrained(library.AutoFeatureExtractor.from_pretrained, model)
        self.model = load_whole(library.AutoModel, model, device)
        self.device = torch.device(device)
        self.rate = int(self.extractor.sampling_rate)
        self.about = {
            "model": model,
            "sha256": state_sha256(self.model),
            "rate": self.rate,
            "transformers": library.__version__,
        }

    def __call__(self, sounds: list[np.ndarray[Any, Any]]) -> Features:
        """Return the features ``[num_sounds, channels]``; each sound runs by itself."""
        rows = []
        for sound in sounds:
            inputs = self.extractor(sound, sampling_rate=self.rate, return_tensors="pt")
            with torch.inference_mode():
                states = self.model(**inputs.to(self.device)).last_hidden_state
            rows.append(states[0].mean(dim=0).float().cpu().numpy())
        return np.stack(rows)
