"""Train MENTOR on TikTok: micro-videos with image and audio features.

    python examples/train_tiktok.py --data data/tiktok --settings '{"contrast": "batch"}'

Without --data it looks for data/tiktok, and without that it trains on synthetic data.
"""

from pathlib import Path
from typing import Any, Literal

from mentor_pyg.cli import run_command, run_training


def main(
    data: Path | None = None,
    semantics: Literal["paper", "released"] = "paper",
    epochs: int = 1000,
    seed: int = 0,
    device: str = "auto",
    out: Path | None = None,
    lr: float = 1e-3,
    visual_weight: float | None = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Train MENTOR, choose the epoch on validation and report it on test.

    Args:
        data: A folder with <name>.inter, image_feat.npy and audio_feat.npy.
        semantics: The paper's method, or what its released code computes.
        epochs: The most epochs to train; validation usually stops earlier.
        seed: The seed of everything random.
        device: auto, cpu, cuda or cuda:<index>.
        out: Where metrics.json and all else goes; by default a new folder in runs/.
        lr: The learning rate.
        visual_weight: The weight of image neighbours in the item graph; audio gets the rest. By
            default both weigh the same.
        settings: Other settings of MENTORConfig, such as '{"contrast": "batch"}'.
    """
    chosen: dict[str, Any] = {"semantics": semantics}
    if visual_weight is not None:
        weights = {"visual": visual_weight, "acoustic": 1 - visual_weight}
        chosen["modality_weights"] = weights
    training = {"lr": lr, "epochs": epochs, "seed": seed, "device": device}
    chosen |= settings or {}
    run_training("mentor", data, out, chosen, training, usual=Path("data/tiktok"))


if __name__ == "__main__":
    run_command(main)
