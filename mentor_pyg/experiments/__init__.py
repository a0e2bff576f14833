"""Comparisons of models with evidence: search, compare, report."""

from mentor_pyg.experiments.plan import Entry, Plan, read_plan
from mentor_pyg.experiments.searching import chosen_settings, search

__all__ = ["Entry", "Plan", "chosen_settings", "read_plan", "search"]
