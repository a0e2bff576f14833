"""Features of texts, by a sentence transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mentor_pyg.dependencies import require
from mentor_pyg.devices import resolve_device
from mentor_pyg.features.models import load_pretrained, state_sha256
from mentor_pyg.features.writing import Features, UnusableError
from mentor_pyg.item_tables import as_text

__all__ = ["TEXT_MODEL", "TextEncoder", "joined_text"]

TEXT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
_MOST_CHARACTERS = 100_000
"""What comes after these is not read; models cut texts much earlier."""


def joined_text(values: Sequence[Any]) -> str:
    """Return the texts of an item as one.

    Raises:
        UnusableError: If there is none.
    """
    parts = [(as_text(value) or "")[:_MOST_CHARACTERS].strip() for value in values]
    text = "\n".join(part for part in parts if part)
    if not text:
        raise UnusableError("there is no text")
    return text[:_MOST_CHARACTERS]


class TextEncoder:
    """Embeds texts by a model of the sentence-transformers library.

    Args:
        model: The name of a model on the Hugging Face Hub, or a folder that holds one.
        device: Where it runs: ``auto``, ``cpu``, ``cuda`` or ``cuda:<index>``.

    Raises:
        MissingPackageError: If sentence-transformers is not installed.
        ValueError: If there is no such device, or the model cannot be loaded.
    """

    def __init__(self, model: str = TEXT_MODEL, device: str = "cpu") -> None:
        place = str(resolve_device(device))
        library: Any = require("sentence_transformers", extra="text", purpose="Embedding texts")
        self.model = load_pretrained(library.SentenceTransformer, model, device=place)
        self.model.eval()
        self.about = {
            "model": model,
            "sha256": state_sha256(self.model),
            "sentence_transformers": library.__version__,
        }

    def __call__(self, texts: list[str]) -> Features:
        """Return the features ``[num_texts, channels]``."""
        found = self.model.encode(
            texts, batch_size=len(texts), convert_to_numpy=True, show_progress_bar=False
        )
        return np.asarray(found, dtype=np.float32)
