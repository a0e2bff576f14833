"""Comparisons of models with evidence: search, compare, report."""

from mentor_pyg.experiments.comparing import Cell, cells_of, compare
from mentor_pyg.experiments.evidence import Paired, holm, paired_test
from mentor_pyg.experiments.plan import Entry, Plan, read_plan
from mentor_pyg.experiments.report import write_report
from mentor_pyg.experiments.searching import chosen_settings, search

__all__ = [
    "Cell",
    "Entry",
    "Paired",
    "Plan",
    "cells_of",
    "chosen_settings",
    "compare",
    "holm",
    "paired_test",
    "read_plan",
    "search",
    "write_report",
]
