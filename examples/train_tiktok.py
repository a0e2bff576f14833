"""Train MENTOR on TikTok: micro-videos with image and audio features.

python examples/train_tiktok.py --data data/tiktok --settings '{"contrast": "batch"}'
"""

from pathlib import Path
from typing import Any, Literal

from mentor_pyg import InteractionFolder
from mentor_pyg.cli import new_folder, run_command, summarize
from mentor_pyg.training import TrainingConfig, train


def main(
    data: Path = Path("data/tiktok"),
    semantics: Literal["paper", "released"] = "paper",
    epochs: int = 1000,
    seed: int = 0,
    device: str = "auto",
    out: Path | None = None,
    lr: float = 1e-3,
    visual_weight: float = 0.5,
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
        visual_weight: The weight of image neighbours in the item graph; audio gets the rest.
        settings: Other settings of MENTORConfig, such as '{"contrast": "batch"}'.
    """
    config = TrainingConfig(lr=lr, epochs=epochs, seed=seed, device=device)
    weights = {"visual": visual_weight, "acoustic": 1 - visual_weight}
    dataset = InteractionFolder(data)[0]
    settings = {"semantics": semantics, "modality_weights": weights, **(settings or {})}
    out = out or new_folder("runs", "train_tiktok")
    metrics = train("mentor", dataset, out, settings=settings, config=config)
    print(summarize(metrics, out))


if __name__ == "__main__":
    run_command(main)
