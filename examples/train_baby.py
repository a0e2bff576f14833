"""Train MENTOR on Amazon Baby, or on any folder of the same layout.

    python examples/train_baby.py --data data/baby --semantics paper

Without --data it looks for data/baby, and without that it trains on synthetic data.
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
    batch_size: int = 2048,
    patience: int = 20,
    k: int = 10,
    settings: dict[str, Any] | None = None,
) -> None:
    """Train MENTOR, choose the epoch on validation and report it on test.

    Args:
        data: A folder with <name>.inter and <modality>_feat.npy files.
        semantics: The paper's method, or what its released code computes.
        epochs: The most epochs to train; validation usually stops earlier.
        seed: The seed of everything random.
        device: auto, cpu, cuda or cuda:<index>.
        out: Where metrics.json and all else goes; by default a new folder in runs/.
        lr: The learning rate.
        batch_size: Interactions per batch.
        patience: Epochs without a better validation recall after which to stop.
        k: Neighbours of every item in the item graphs.
        settings: Other settings of MENTORConfig, such as '{"contrast": "batch"}'.
    """
    training = {"lr": lr, "batch_size": batch_size, "epochs": epochs, "patience": patience}
    run_training(
        "mentor",
        data,
        out,
        {"semantics": semantics, "k": k, **(settings or {})},
        {**training, "seed": seed, "device": device},
        usual=Path("data/baby"),
    )


if __name__ == "__main__":
    run_command(main)
