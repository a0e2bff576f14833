import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mentor_pyg.experiments import chosen_settings, compare, read_plan, search, searching
from mentor_pyg.training import train

optuna = pytest.importorskip("optuna")
MODULE = "mentor_pyg.experiments.searching"
Write = Callable[..., Path]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def study_of(out: Path, label: str) -> Any:
    storage = f"sqlite:///{out / 'search.db'}"
    return optuna.load_study(study_name=f"tiny/{label}", storage=storage)


def trials_of(out: Path, label: str) -> list[Any]:
    trials: list[Any] = study_of(out, label).trials
    return trials


def runs_of(out: Path, label: str) -> list[dict[str, Any]]:
    paths = sorted((out / "search" / "tiny" / label).glob("trial-*/metrics.json"))
    return [json.loads(path.read_text()) for path in paths]


def test_chooses_on_validation_and_never_ranks_test(write_plan: Write, out: Path) -> None:
    plan = read_plan(write_plan())
    found = search(plan, out)
    assert found.keys() == {("tiny", "item_knn"), ("tiny", "lightgcn")}
    for label in ("item_knn", "lightgcn"):
        trials, runs = trials_of(out, label), runs_of(out, label)
        assert len(trials) == 4 and all(trial.state.is_finished() for trial in trials)
        assert all("test" not in run for run in runs)
        chosen = found["tiny", label]
        best = max(t.value for t in trials if t.value is not None and t.state.name == "COMPLETE")
        assert chosen["val"]["recall@10"] == best == max(run["val"]["recall@10"] for run in runs)
        assert chosen_settings(plan.models[label], "tiny", out) == {
            part: chosen[part] for part in ("settings", "training")
        }
        path = out / "search" / "tiny" / label / "chosen.json"
        assert json.loads(path.read_text()) == chosen
    chosen = found["tiny", "lightgcn"]
    assert chosen["settings"].keys() == {"embedding_dim", "num_layers"}
    assert chosen["training"]["epochs"] == 12 and 1e-3 <= chosen["training"]["lr"] <= 1e-1
    # Nothing is searched: what the plan gives.
    popularity = plan.models["popularity"]
    assert chosen_settings(popularity, "tiny", out)["training"]["epochs"] == 12


def test_is_deterministic(write_plan: Write, out: Path, tmp_path: Path) -> None:
    plan = read_plan(write_plan())
    assert search(plan, out) == search(plan, tmp_path / "again")


def test_goes_on_where_it_stopped(
    write_plan: Write, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    plan = read_plan(write_plan())
    calls: list[Path] = []

    def stopped(model: str, data: Any, path: Path, **options: Any) -> Any:
        calls.append(path)
        if len(calls) == 6:  # The second trial of lightgcn, after its second epoch.
            watch = options["on_epoch"]

            def stop(run: Any, row: Any) -> None:
                watch(run, row)
                if run.epoch == 3:
                    raise KeyboardInterrupt

            options["on_epoch"] = stop
        return train(model, data, path, **options)

    monkeypatch.setattr(f"{MODULE}.train", stopped)
    with pytest.raises(KeyboardInterrupt):
        search(plan, out)
    assert capsys.readouterr().err == f"stopped; run the same again with --out {out} to go on\n"
    assert len(trials_of(out, "lightgcn")) == 2
    search(plan, out)
    # The abandoned trial was taken again, in its own folder, with the settings that it had.
    again = [path for path in calls if path == calls[5]]
    assert len(again) == 2
    trials = trials_of(out, "lightgcn")
    states = [trial.state.name for trial in trials]
    assert states.count("FAIL") == 1 and len(trials) == 5
    failed = states.index("FAIL")
    assert trials[2].params == trials[failed].params
    before = len(calls)
    search(plan, out)
    assert len(calls) == before  # There is nothing left to do.


def test_leaves_alone_what_another_process_is_at(
    write_plan: Write, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = read_plan(write_plan())
    out.mkdir()
    study = optuna.create_study(
        storage=f"sqlite:///{out / 'search.db'}", study_name="tiny/lightgcn", direction="maximize"
    )
    trial = study.ask()
    trial.set_user_attr("run", "trial-000")
    folder = out / "search" / "tiny" / "lightgcn"
    folder.mkdir(parents=True)
    with FileLock(folder / "trial-000.lock"):
        found = search(plan, out)
    assert found.keys() == {("tiny", "item_knn")}
    assert "lightgcn on tiny: other processes are at work" in capsys.readouterr().out
    assert len(trials_of(out, "lightgcn")) == 4  # That one counts.
    with pytest.raises(FileNotFoundError, match=r"run `mentor-pyg search` with the same --config"):
        chosen_settings(plan.models["lightgcn"], "tiny", out)


def test_settings_that_fail_are_recorded_and_cost_a_trial(
    write_plan: Write, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    calls: list[Any] = []

    def diverging(model: str, data: Any, path: Path, **options: Any) -> Any:
        calls.append(path)
        if model == "lightgcn" and len(calls) % 2:
            raise FloatingPointError("the loss became NaN")
        return train(model, data, path, **options)

    monkeypatch.setattr(f"{MODULE}.train", diverging)
    chosen = search(read_plan(write_plan()), out)["tiny", "lightgcn"]
    assert (chosen["failed"], chosen["trials"]) == (2, 4)
    assert "lightgcn on tiny: failed" in capsys.readouterr().err
    errors = [t.user_attrs.get("error") for t in trials_of(out, "lightgcn")]
    assert errors.count("FloatingPointError: the loss became NaN") == 2


def test_says_so_where_every_trial_failed(
    write_plan: Write, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverging(*args: Any, **options: Any) -> Any:
        raise FloatingPointError("NaN")

    monkeypatch.setattr(f"{MODULE}.train", diverging)
    with pytest.raises(ValueError, match=r"item_knn on tiny: no trial came to an end.*NaN"):
        search(read_plan(write_plan()), out)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  lightgcn:", "  lightgcn:\n    without: [smell]", "lightgcn on tiny: .*'smell'"),
        ("k: [5, 10]", "k: [5, 81]", "item_knn on tiny: 'k' needs positive integers up to .* 80"),
    ],
)
def test_what_does_not_go_with_the_data_is_said_before_a_study_is_made(
    write_plan: Write, out: Path, old: str, new: str, message: str
) -> None:
    path = write_plan((old, new))
    with pytest.raises(ValueError, match=f"{path}: {message}"):
        search(read_plan(path), out)
    assert not out.exists()


def test_one_that_cannot_be_searched_does_not_stop_the_others(
    write_plan: Write, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(model: str, *args: Any, **options: Any) -> Any:
        if model == "item_knn":
            raise RuntimeError("too little memory")
        return train(model, *args, **options)

    monkeypatch.setattr(f"{MODULE}.train", failing)
    plan = read_plan(write_plan())
    with pytest.raises(ValueError, match=r"item_knn on tiny: no trial .*too little memory"):
        search(plan, out)
    assert len(trials_of(out, "lightgcn")) == 4
    assert chosen_settings(plan.models["lightgcn"], "tiny", out)


@pytest.mark.parametrize("at", ["run", "metrics"])
@pytest.mark.parametrize("label", ["item_knn", "lightgcn"])
def test_goes_on_wherever_it_was_killed(
    write_plan: Write, out: Path, monkeypatch: pytest.MonkeyPatch, label: str, at: str
) -> None:
    whole = ("settings.shrink: {from: 0.0, to: 50.0}", "settings.shrink: [0.0, 50.0]")
    plan = read_plan(write_plan(whole)).only([label])
    keep = optuna.trial.Trial.set_user_attr

    def killed(trial: Any, key: str, value: Any) -> None:
        if key == at and trial.number == 1:
            raise KeyboardInterrupt
        keep(trial, key, value)

    monkeypatch.setattr(optuna.trial.Trial, "set_user_attr", killed)
    with pytest.raises(KeyboardInterrupt):
        search(plan, out)
    monkeypatch.undo()
    search(plan, out)
    ended = [trial for trial in trials_of(out, label) if trial.state.name in ("COMPLETE", "PRUNED")]
    assert len(ended) == 4
    if label == "item_knn":  # Each of the four points was tried once.
        assert len({tuple(sorted(trial.params.items())) for trial in ended}) == 4


def test_a_trial_without_its_values_is_taken_again_with_them(
    write_plan: Write, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ("settings.shrink: {from: 0.0, to: 50.0}", "settings.shrink: [0.0, 50.0]")
    plan = read_plan(write_plan(whole)).only(["item_knn"])
    monkeypatch.setattr(
        f"{MODULE}._Search._suggest", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        search(plan, out)
    monkeypatch.undo()
    search(plan, out)
    ended = [trial for trial in trials_of(out, "item_knn") if trial.state.name != "FAIL"]
    assert len({tuple(sorted(trial.params.items())) for trial in ended}) == len(ended) == 4


def test_damaged_files_are_named(write_plan: Write, out: Path) -> None:
    plan = read_plan(write_plan()).only(["item_knn"])
    search(plan, out)
    for name in ("search.db", "search/tiny/item_knn/chosen.json"):
        (out / name).write_text("damaged")
    with pytest.raises(ValueError, match=r"search.db is no database of searches"):
        search(plan, out)
    with pytest.raises(ValueError, match=r"chosen.json is damaged .*remove it and search again"):
        chosen_settings(plan.models["item_knn"], "tiny", out)


@pytest.mark.parametrize(("trials", "tried"), [(3, 3), (6, 6), (9, 6)])
def test_no_point_is_tried_twice(write_plan: Write, out: Path, trials: int, tried: int) -> None:
    lists = ("settings.shrink: {from: 0.0, to: 50.0}", "settings.normalize: [true, false]")
    whole = ("settings.k: [5, 20]", "settings.k: {from: 5, to: 7}")
    budget = ("trials: 4", f"trials: {trials}")
    plan = read_plan(write_plan(lists, whole, budget)).only(["item_knn"])
    chosen = search(plan, out)["tiny", "item_knn"]
    assert chosen["trials"] == tried
    found = [tuple(sorted(trial.params.items())) for trial in trials_of(out, "item_knn")]
    assert len(found) == len(set(found)) == tried
    assert {value for point in found for key, value in point if key == "settings.k"} <= {5, 6, 7}
    search(plan, out)
    assert len(trials_of(out, "item_knn")) == tried


def test_points_come_in_the_order_of_the_search_seed(write_plan: Write, tmp_path: Path) -> None:
    lists = ("settings.shrink: {from: 0.0, to: 50.0}", "settings.shrink: [0.0, 1.0, 2.0, 3.0]")
    orders = []
    for place, seed in enumerate((0, 0, 1)):
        budget = ("trials: 4", f"trials: 6\nsearch_seed: {seed}")
        plan = read_plan(write_plan(lists, budget)).only(["item_knn"])
        out = tmp_path / str(place)
        search(plan, out)
        orders.append([trial.params for trial in trials_of(out, "item_knn")])
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("trials: 4", "trials: 5", "trials was 4, now 5"),
        ("trials: 4", "trials: 4\nsearch_seed: 1", "search_seed was 0, now 1"),
        ("seeds: [3, 4]", "seeds: [4, 3]", "seed was 3, now 4"),
        (
            "settings.k: [5, 20]",
            "settings.k: [5, 10]",
            r"searched.space.settings.k was \[5, 20\], now \[5, 10\]",
        ),
        (
            "  item_knn:",
            "  item_knn:\n    missing: {share: 0.5}",
            r"data was \w+, now \w+, searched.missing.share was None, now 0.5",
        ),
    ],
)
def test_another_plan_needs_another_folder(
    write_plan: Write, out: Path, old: str, new: str, named: str
) -> None:
    search(read_plan(write_plan()), out)
    with pytest.raises(ValueError, match=rf"item_knn on tiny: .* of another plan \({named}\);"):
        search(read_plan(write_plan((old, new))), out)


def test_what_was_chosen_among_other_trials_is_not_compared(write_plan: Write, out: Path) -> None:
    lists = ("settings.shrink: {from: 0.0, to: 50.0}", "settings.normalize: [true, false]")
    search(read_plan(write_plan(lists)).only(["item_knn"]), out)
    entry = read_plan(write_plan(lists)).models["item_knn"]
    for trials in (4, 5):  # There are four points.
        assert chosen_settings(entry, "tiny", out, trials=trials)
        more = read_plan(write_plan(lists, ("trials: 4", f"trials: {trials}")))
        search(more.only(["item_knn"]), out)
    study = study_of(out, "item_knn")  # As older versions recorded five trials of four points.
    study.set_user_attr("plan", {**study.user_attrs["plan"], "trials": 5})
    search(more.only(["item_knn"]), out)
    fewer = read_plan(write_plan(lists, ("trials: 4", "trials: 2"))).only(["item_knn"])
    with pytest.raises(ValueError, match=r"chosen among 4 trials, and the plan asks for 2 now"):
        compare(fewer, out, baselines=False)


def test_more_points_than_can_be_counted_are_proposed() -> None:
    wide = {"from": 1, "to": 2**16, "scale": "linear"}
    few, many = ({f"settings.{name}": wide for name in names} for names in ("abc", "abcd"))
    assert len(searching._points(few, 2, 0)) == 2
    assert searching._points(many, 2, 0) == []
