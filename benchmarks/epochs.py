"""An epoch of every model of a plan: how long, in what, how much memory, beside LightGCN's.

python benchmarks/epochs.py --plan benchmarks/comparisons/tiktok.yaml
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import torch
from hardware import describe
from torch.profiler import ProfilerActivity, profile

from mentor_pyg.datasets import InteractionFolder
from mentor_pyg.experiments.plan import Entry, read_plan
from mentor_pyg.memory import keep_freed_memory
from mentor_pyg.models import Recommender, build_model
from mentor_pyg.models.registry import find_model
from mentor_pyg.models.step import Step
from mentor_pyg.sampling import BATCHES
from mentor_pyg.training import TrainingConfig

__all__ = ["main"]

_EPOCHS = 3
_KINDS = {
    "dense": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
    "sparse": ("_ConstantProduct", "_TrainedProduct", "_LayerSum", "_EdgeDots"),
    "all pairs": ("_StreamedCrossEntropy",),
}
"""Per kind of work that a method cannot do without, how the names of its operations start."""


def epoch(folder: str, entry: Entry, threads: int) -> dict[str, float]:
    """Return seconds and MiB of an epoch, and the seconds of each kind of work in it."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    data = InteractionFolder(folder)[0]
    config = TrainingConfig.from_dict({"device": "cpu", **entry.training})
    model = build_model(entry.model, data, entry.settings)
    assert isinstance(model, Recommender)
    inputs = model.prepare(data)
    step = Step(model.objectives(), config.lr)
    batches = BATCHES[config.batches](data, config.batch_size, config.seed)
    generator = torch.Generator()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model.train()

    def run(number: int) -> None:
        batches.set_epoch(number)
        drawn = model.resample(inputs, number, generator.manual_seed(number))
        for batch in batches:
            step(drawn, batch)

    run(0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for number in range(1, _EPOCHS + 1):
        start = time.perf_counter()
        run(number)
        seconds.append(time.perf_counter() - start)
    found = {"seconds": median(seconds), "peak": (peak - before) / 1024}
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        run(_EPOCHS + 1)
    times = {row.key: row.self_cpu_time_total / 1e6 for row in profiler.key_averages()}
    total = sum(times.values())
    for kind, starts in _KINDS.items():
        share = sum(taken for key, taken in times.items() if key.startswith(starts)) / total
        found[kind] = share * found["seconds"]  # Profiling slows down what it measures.
    return found


def measured(folder: str, entry: Entry, threads: int) -> dict[str, float]:
    """Return :func:`epoch` of a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(epoch, folder, entry, threads).result()


def table(results: Mapping[str, Mapping[str, float]], base: str) -> list[str]:
    """Return the rows of the report, the fastest first."""
    rows = [
        "| model | an epoch, s | of LightGCN's | dense, s | sparse, s | all pairs, s | all else, s "
        "| at most, s | peak, MiB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    own = {name: sum(found[kind] for kind in _KINDS) for name, found in results.items()}
    for name, found in sorted(results.items(), key=lambda one: one[1]["seconds"]):
        seconds = found["seconds"]
        bound = 2 * results[base]["seconds"] + own[name] - own[base]
        within = f"{bound:.2f}" if seconds <= bound else f"**{bound:.2f}**"
        kinds = " | ".join(f"{found[kind]:.2f}" for kind in _KINDS)
        rows.append(
            f"| {name} | {seconds:.2f} | {seconds / results[base]['seconds']:.1f} | {kinds} "
            f"| {seconds - own[name]:.2f} | {within} | {found['peak']:,.0f} |"
        )
    return rows


def main() -> None:
    """Measure all models of a plan that have epochs, and write a report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", type=Path, default=Path("benchmarks/comparisons/tiktok.yaml"))
    parser.add_argument("--base", default="lightgcn_softmax")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/epochs.md"))
    args = parser.parse_args()
    plan = read_plan(args.plan)
    load = os.getloadavg()[0]
    results = {}
    for data, entry in plan.cells():
        name = entry.label
        has_epochs = issubclass(find_model(entry.model), Recommender) and entry.base is None
        like_base = entry.training == plan.models[args.base].training
        if has_epochs and like_base and (args.only is None or name in (args.base, *args.only)):
            results[name] = measured(plan.data[data], entry, args.threads)
            print(f"{name}: {results[name]['seconds']:.2f} s", flush=True)
    about = [f"- {key}: {value}" for key, value in describe("cpu", args.threads).items()]
    about += [
        f"- load average before: {load:.1f}",
        f"- {args.plan}: the median of {_EPOCHS} epochs",
        "",
        "Dense and sparse products, and scores of all pairs in ranking losses and contrasts, are "
        "the method's own. *At most* is twice LightGCN's epoch and what the model has of them "
        "beyond LightGCN's; **bold** where an epoch takes longer. Validation is not in. The peak "
        "is over what was held before the first step.",
    ]
    text = "# An epoch of every model\n\n" + "\n".join([*about, "", *table(results, args.base), ""])
    args.out.write_text(text)


if __name__ == "__main__":
    main()
