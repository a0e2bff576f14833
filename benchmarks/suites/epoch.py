"""An epoch of training in a plain loop: batches, negatives and every step."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import torch
from cases import Case, Setting, Work
from dataset import load

from mentor_pyg.models import MENTOR, MENTORConfig
from mentor_pyg.sampling import BPRBatches
from suites.step import CONFIGS, check_loss, contrast_by, train_step

__all__ = ["cases"]

_NAIVE_STEPS = 1


def cases(setting: Setting) -> list[Case]:
    """Return the paper's configurations."""
    if not setting.channels:  # MENTOR needs a modality.
        return []
    found = []
    for name, config in CONFIGS.items():
        if config["semantics"] != "paper":
            continue
        for backend, steps in (("auto", setting.epoch_steps), ("naive", _NAIVE_STEPS)):
            plural = "s" if steps > 1 else ""
            label = f"{backend}, estimated from {steps} step{plural}" if steps else backend
            work = partial(_epoch, config, steps, backend=backend)
            found.append(Case("epoch", name, label, work))
    return found


def _epoch(config: dict[str, Any], steps: int, setting: Setting, *, backend: str) -> Work:
    data = load(setting)
    model = MENTOR.from_data(data, MENTORConfig.from_dict({**config, "backend": backend}))
    model.to(setting.device)
    inputs = model.prepare(data)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    batches = BPRBatches(data)
    taken = min(steps, len(batches)) if steps else len(batches)

    def run() -> None:
        batches.set_epoch(batches.epoch + 1)
        with contrast_by(backend):
            for batch in itertools.islice(batches, taken):
                train_step(model, optimizer, inputs, batch)

    def check(_: object) -> str:
        return check_loss(model, inputs, next(iter(batches)), backend)

    facts = {"steps": len(batches), "steps measured": taken}
    return Work(run, check, scale=len(batches) / taken, facts=facts)
