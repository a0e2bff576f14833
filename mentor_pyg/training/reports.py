"""What a person sees of a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["EpochReport"]


class EpochReport(Progress):
    """A progress bar with the time left on a terminal, and one line per epoch elsewhere."""

    def __init__(self, epochs: int, done: int, steps: int, monitor: str) -> None:
        super().__init__(
            *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
            *(TimeRemainingColumn(), TextColumn("{task.fields[shown]}")),
            disable=not sys.stdout.isatty(),
        )
        self.monitor = monitor
        self._run = self.add_task("epochs", total=epochs, completed=done, shown="")
        self._epoch = self.add_task("steps", total=steps, shown="")

    def step(self) -> None:
        """Move on by one step."""
        self.advance(self._epoch)

    def epoch(self, row: Mapping[str, float]) -> None:
        """Show the loss terms and the metric of an epoch, a row of the run's table."""
        terms = {n.removeprefix("train/"): v for n, v in row.items() if n.startswith("train/")}
        shown = " ".join(f"{name} {value:.4f}" for name, value in terms.items())
        if (score := row.get(self.monitor)) is not None:
            shown += f" | {self.monitor} {score:.4f}"
        self.update(self._run, completed=row["epoch"], shown=shown)
        self.reset(self._epoch)
        if self.disable:
            print(f"epoch {row['epoch']:.0f}: {shown}", flush=True)
