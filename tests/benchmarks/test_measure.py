"""What is measured is right, and what is wrong is not measured."""

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import measure as measure_module
import pytest
import torch
from cases import CannotRunError, Case, Setting, Work
from measure import measure, refuse_beyond_memory
from suites import SUITES
from torch import Tensor

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops import BACKENDS, Backend
from mentor_pyg.ops.propagation import naive

KEYS = {"suite", "case", "backend", "status"}


def case_of(
    run: Callable[[], object], check: Callable[[Any], str] = lambda result: "", **work: float
) -> Case:
    return Case("propagate", "made up", "auto", lambda setting: Work(run, check, **work))


def propagate_case(setting: Setting, backend: str) -> Case:
    cases = SUITES["propagate"](setting)
    return next(c for c in cases if c.name.startswith("width 64") and c.backend == backend)


@pytest.mark.parametrize(
    "suite", ["propagate", "infonce", "knn", "negatives", "ranking", "step", "epoch"]
)
def test_every_case_gives_a_time_or_the_reason_why_not(suite: str, setting: Setting) -> None:
    left_out = ("width 128", "3 slabs", "2 layers", "textual", "an epoch", "released")
    cases = [case for case in SUITES[suite](setting) if not case.name.startswith(left_out)]
    rows = [measure(case, setting) for case in cases]
    assert len(rows) >= 2
    for row in rows:
        assert row.keys() >= KEYS
        if row["status"] == "cannot run":
            assert row["reason"]
        else:
            assert (row["status"], row.get("reason")) == ("ok", None)
            assert 0 < row["min_ms"] <= row["median_ms"] <= row["max_ms"]
            assert row["checked"]
    # Every comparison is with a reference that ran in the same report.
    ran = {row["case"] for row in rows if row["status"] == "ok"}
    naive = {row["case"] for row in rows if row["backend"].startswith("naive")}
    assert ran - naive <= {c.name for c in cases if "4 metrics" in c.name}


def wrong_value(adjacency: Adjacency, x: Tensor) -> Tensor:
    return 1.001 * naive.product(adjacency, x)


FORWARD_THEN_BACKWARD = cycle((1.0, 1.001))


def wrong_gradient(adjacency: Adjacency, x: Tensor) -> Tensor:
    return next(FORWARD_THEN_BACKWARD) * naive.product(adjacency, x)


def not_finite(adjacency: Adjacency, x: Tensor) -> Tensor:
    out = naive.product(adjacency, x)
    return torch.where(torch.arange(len(out)).unsqueeze(1) == 3, torch.nan, out)


@pytest.mark.parametrize("wrong", [wrong_value, wrong_gradient, not_finite])
def test_a_wrong_backend_is_not_timed(
    wrong: Callable[[Adjacency, Tensor], Tensor], setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measure(propagate_case(setting, "torch_csr"), setting)["status"] == "ok"
    monkeypatch.setitem(BACKENDS, "torch_csr", Backend(wrong, naive.unavailable))
    row = measure(propagate_case(setting, "torch_csr"), setting)
    assert row["status"] == "wrong"
    assert "off by" in row["reason"]
    assert "median_ms" not in row


def test_a_backend_that_is_unavailable_says_why(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = Backend(naive.product, lambda adjacency, x: "there is no such library")
    monkeypatch.setitem(BACKENDS, "torch_csr", absent)
    row = measure(propagate_case(setting, "torch_csr"), setting)
    assert (row["status"], row["reason"]) == ("cannot run", "there is no such library")


def test_every_propagation_backend_has_a_row(setting: Setting) -> None:
    names = {case.backend for case in SUITES["propagate"](setting)}
    assert names == set(BACKENDS)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CannotRunError("too large"), "cannot run"),
        (AssertionError("off"), "wrong"),
        (ZeroDivisionError("by zero"), "failed"),
    ],
)
def test_what_a_case_raises_is_its_row(error: Exception, status: str, setting: Setting) -> None:
    def prepare(setting: Setting) -> Work:
        raise error

    row = measure(Case("knn", "made up", "auto", prepare), setting)
    assert row["status"] == status
    assert str(error) in row["reason"]


def test_a_case_beyond_the_memory_is_refused() -> None:
    refuse_beyond_memory(2**20, "cpu")
    with pytest.raises(CannotRunError, match=r"needs about 1048576 GiB, of which \d+ GiB are free"):
        refuse_beyond_memory(2**50, "cpu")


def test_time_is_the_median_of_calls(setting: Setting) -> None:
    row = measure(case_of(lambda: time.sleep(0.01), scale=3.0), replace(setting, repeats=3))
    assert row["calls_per_sample"] == 1
    assert 30 <= row["min_ms"] <= row["median_ms"] < 60


def test_short_calls_are_timed_together(setting: Setting) -> None:
    row = measure(case_of(lambda: None), setting)
    assert row["calls_per_sample"] == 200


@pytest.mark.parametrize("first", [0.5, 1.5])
def test_a_slow_first_call_says_nothing_of_the_next(
    first: float, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = iter([first])
    right = measure_module.seconds_of
    monkeypatch.setattr(measure_module, "seconds_of", lambda *args: right(*args) + next(late, 0.0))
    row = measure(case_of(lambda: None), setting)
    assert row["calls_per_sample"] == 200


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_memory_is_what_a_call_adds_at_its_peak(setting: Setting) -> None:
    held = torch.ones(2**24)  # 64 MiB that are there before.

    def run() -> Tensor:
        return (held + 1).add_(torch.ones(2**23).sum())  # 64 MiB, then 32 MiB more.

    row = measure(case_of(run), setting)
    assert 95 <= row["peak_mib"] <= 110
    assert row["held_mib"] > 64


def test_a_step_can_be_traced(setting: Setting, tmp_path: Path) -> None:
    case = SUITES["step"](setting)[0]
    row = measure(case, replace(setting, profile=tmp_path))
    assert '"traceEvents"' in (tmp_path / row["trace"]).read_text()
    assert "aten::mm" in (tmp_path / row["trace"]).with_suffix(".txt").read_text()
