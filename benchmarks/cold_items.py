"""Items that came after training: recall of models that were trained without them.

python benchmarks/cold_items.py --data data/tiktok --models lightgcn-tiktok mentor_plus-tiktok
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from torch_geometric.data import HeteroData

from mentor_pyg.cli.shipped import config_file
from mentor_pyg.data import Scorer, num_items
from mentor_pyg.datasets import InteractionFolder
from mentor_pyg.dependencies import require
from mentor_pyg.evaluation import AmongItems, cold_items, hold_out_items, recall_by_item_group
from mentor_pyg.models import ContentKNN, Popularity, Recommender, extend, load_model
from mentor_pyg.training import TrainingConfig, train
from mentor_pyg.typing import Split

__all__ = ["main"]

COLUMNS = ("warm", "cold", "cold among cold")


def recalls(scorer: Scorer, whole: HeteroData, split: Split, k: int) -> list[float]:
    """Return the recall of warm and cold items among all, and of cold items among themselves."""
    is_cold = cold_items(whole)
    key = f"recall@{k}"
    among_all = recall_by_item_group(scorer, whole, is_cold, split, k)[key]
    among_cold = recall_by_item_group(AmongItems(scorer, is_cold), whole, is_cold, split, k)[key]
    return [float(among_all[0]), float(among_all[1]), float(among_cold[1])]


def trained(name: str, warm: HeteroData, seed: int) -> Recommender:
    """Train a shipped config without the items that are held out."""
    yaml = require("yaml", extra="train", purpose="A configuration file")
    config = yaml.safe_load(config_file(name).read_text())
    settings = {"seed": seed, "device": "cpu", **config["training"]}
    with tempfile.TemporaryDirectory() as out:
        train(
            config["model"],
            warm,
            out,
            settings=config["settings"],
            config=TrainingConfig.from_dict(settings),
            test=False,
        )
        model = load_model(Path(out) / "model.safetensors")
    assert isinstance(model, Recommender)
    return model


def main() -> None:
    """Print a table of means and deviations over seeds, which draw the items too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/tiktok"))
    parser.add_argument("--models", nargs="*", default=["lightgcn-tiktok", "mentor_plus-tiktok"])
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--nearest", type=int, default=20, help="k of `extend`")
    args = parser.parse_args()
    data = InteractionFolder(args.data)[0]
    rows: dict[str, list[list[float]]] = {}
    for seed in args.seeds:
        warm, whole = hold_out_items(data, args.share, seed)
        scorers: dict[str, Scorer] = {}
        for fitted in (Popularity, ContentKNN):
            model = fitted.from_data(whole).fit(whole)
            scorers[fitted.name] = model.scorer(model.prepare(whole))
        for name in args.models:
            extended = extend(trained(name, warm, seed), whole, args.nearest)
            with extended.evaluating(), torch.no_grad():
                scorers[name] = extended.scorer(extended.prepare(whole))
        for name, scorer in scorers.items():
            rows.setdefault(name, []).append(recalls(scorer, whole, args.split, args.k))
        count = num_items(whole) - num_items(warm)
        print(f"seed {seed}: {count} of {num_items(whole)} items held out", flush=True)
    print(f"\n| model | {' | '.join(f'{c} recall@{args.k}' for c in COLUMNS)} |")
    print("|---|---:|---:|---:|")
    for name, values in rows.items():
        cells = []
        for column in zip(*values, strict=True):
            spread = f" ± {statistics.stdev(column):.4f}" if len(column) > 1 else ""
            cells.append(f"{statistics.mean(column):.4f}{spread}")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
