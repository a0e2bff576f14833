"""What a run gave, for a person to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["summarize"]


def summarize(metrics: dict[str, Any], out: str | Path) -> str:
    """Return the metrics of :func:`~mentor_pyg.training.train` as a short table.

    Args:
        metrics: What ``train`` returned.
        out: Where it wrote.
    """
    keys = list(metrics["test"])
    lines = [
        f"best epoch {metrics['best_epoch']}, chosen on validation, "
        f"after {metrics['seconds']:.0f} s; written to {out}",
        f"{'':12}{'val':>8}{'test':>8}",
    ]
    lines += [f"{key:12}{metrics['val'][key]:8.4f}{metrics['test'][key]:8.4f}" for key in keys]
    return "\n".join(lines)
