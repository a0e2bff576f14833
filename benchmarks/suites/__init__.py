"""The suites: one file each, with a function that lists its cases."""

from collections.abc import Callable

from cases import Case, Setting

from suites import (
    epoch,
    infonce,
    knn,
    machine,
    negatives,
    propagate,
    ranking,
    scaling,
    softmax,
    step,
)

__all__ = ["SUITES"]

SUITES: dict[str, Callable[[Setting], list[Case]]] = {
    "machine": machine.cases,
    "propagate": propagate.cases,
    "infonce": infonce.cases,
    "softmax": softmax.cases,
    "knn": knn.cases,
    "negatives": negatives.cases,
    "ranking": ranking.cases,
    "step": step.cases,
    "epoch": epoch.cases,
    "scaling": scaling.cases,
}
"""Per suite the function that lists its cases, in the order of the report."""
