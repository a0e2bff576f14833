"""Train LightGCN or BPRMF, which need interactions alone.

    python examples/train_interactions.py --model lightgcn --data data/sports

Without --data it trains on synthetic data.
"""

from pathlib import Path
from typing import Any, Literal

from mentor_pyg.cli import run_command, run_training


def main(
    data: Path | None = None,
    model: Literal["lightgcn", "bprmf"] = "lightgcn",
    epochs: int = 1000,
    seed: int = 0,
    device: str = "auto",
    out: Path | None = None,
    lr: float = 1e-3,
    settings: dict[str, Any] | None = None,
) -> None:
    """Train a model, choose the epoch on validation and report it on test.

    Args:
        data: A folder with <name>.inter.
        model: Which model.
        epochs: The most epochs to train; validation usually stops earlier.
        seed: The seed of everything random.
        device: auto, cpu, cuda or cuda:<index>.
        out: Where metrics.json and all else goes; by default a new folder in runs/.
        lr: The learning rate.
        settings: Settings of LightGCNConfig or BPRMFConfig, such as '{"num_layers": 2}'.
    """
    training = {"lr": lr, "epochs": epochs, "seed": seed, "device": device}
    run_training(model, data, out, settings, training)


if __name__ == "__main__":
    run_command(main)
