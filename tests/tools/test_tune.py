"""A search never sees the test part, loses no trial, runs none twice, and writes down what it found."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

import trainwright as tw
from trainwright.cli import main
from trainwright.core.errors import NumericsError, UserError
from trainwright.core.events import Event, StepDone
from trainwright.runs import assemble
from trainwright.runs.directory import read_view
from trainwright.runs.recipe import plain, read
from trainwright.tools import trial as trials
from trainwright.tools.journal import journal
from trainwright.tools.searched import Search
from trainwright.tools.space import Range
from trainwright.tools.study import Plan, new_id, opened, proposed, read_plan, write_plan
from trainwright.tools.trial import Worker

QUICK: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.2, "test": 0.2},
    "model": {"name": "mlp", "width": 8},
    "batch_size": 32,
    "budget": "3 epochs",
    "doctor": "off",
}
SPACE = ["optimizer.lr=1e-3..1e-1:log", "model.depth=1..3", "optimizer.name=adamw,sgd", "optimizer.momentum=0..0.9"]


@pytest.fixture(scope="module", autouse=True)
def _blank_curves() -> Iterator[None]:
    """tests/runs/test_plot.py looks at curves; drawing them takes longer than these trainings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainwright.runs.run.curves", lambda view, monitor, path: path)
        yield


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Search:
    """Six trials, of which it is written down which parts of the data they looked at."""
    looked: list[tuple[str, str]] = []
    whole = assemble.batches

    def noted(part: Any, *given: Any, **named: Any) -> Any:
        looked.append((part.name, "trial" if (folder / "best").is_dir() is False else "best"))
        return whole(part, *given, **named)

    folder = tmp_path_factory.mktemp("search") / "search"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assemble, "batches", noted)
        search = tw.tune(QUICK, space=SPACE, trials=6, out=folder, quiet=True)
    search.looked = looked  # type: ignore[attr-defined]
    return search


def counted(search: Search) -> list[tuple[int, str]]:
    return [(t.number, t.state) for t in search.trials]


def test_no_trial_sees_the_test_part_and_the_best_is_scored_on_it_once(found: Search) -> None:
    looked = set(found.looked)  # type: ignore[attr-defined]
    assert ("valid", "trial") in looked
    assert ("test", "trial") not in looked
    assert ("test", "best") in looked
    for told in found.trials:
        ended = read_view(told.run).ended
        assert ended is not None
        assert {k.partition("/")[0] for k in ended.scores} == {"valid"}
        assert ended.baselines == {}
    assert found.run is not None
    assert found.run.intervals["test/accuracy"]
    assert found.run.baselines["linear"]


def test_each_trial_is_an_ordinary_run_with_the_values_of_its_trial(found: Search) -> None:
    assert counted(found) == [(i, "finished") for i in range(6)]
    for told in found.trials:
        run = tw.open(told.run)
        assert run.state == "finished"
        assert run.config["optimizer"]["lr"] == told.values["optimizer.lr"]
        assert run.config["optimizer"]["name"] == told.values["optimizer.name"]
        assert ("optimizer.momentum" in told.values) == (told.values["optimizer.name"] == "sgd")
        assert run.metrics["valid/accuracy"] == told.objectives[0]


def test_all_trials_have_the_split_of_the_recipe(found: Search) -> None:
    alone = tw.train(QUICK, out=found.path.parent / "alone", quiet=True)
    parts = [tw.open(t.run).manifest["data"]["parts"] for t in found.trials]
    assert all(p == alone.manifest["data"]["parts"] for p in parts)


def test_the_first_trial_is_the_recipe_itself(found: Search) -> None:
    assert found.trials[0].values == {"optimizer.name": "adamw", "optimizer.lr": 1e-3, "model.depth": 2}


def test_the_best_recipe_trains_to_the_same_score(found: Search) -> None:
    best = found.best
    assert best is not None
    assert best.objectives[0] == max(t.objectives[0] for t in found.trials)
    assert found.run is not None
    assert found.run.metrics["valid/accuracy"] == best.objectives[0]
    written = read(found.recipe).written()
    assert (written["optimizer"]["lr"], written["model"]["depth"]) == (
        best.values["optimizer.lr"],
        best.values["model.depth"],
    )
    assert written["score"] == "all"


def test_what_was_found_is_written_down(found: Search) -> None:
    told = json.loads((found.path / "result.json").read_text())
    assert told["best"]["values"] == found.best.values if found.best else None
    assert told["scores"]["test/accuracy"] == found.run.metrics["test/accuracy"] if found.run else None
    assert sum(found.importance.values()) == pytest.approx(1)
    assert set(found.importance) <= {"optimizer.lr", "model.depth", "optimizer.name"}
    rows = list(csv.DictReader((found.path / "trials.csv").read_text().splitlines()))
    assert [float(r["valid accuracy"]) for r in rows] == [t.objectives[0] for t in found.trials]
    for picture in ("history.png", "keys.png", "importance.png"):
        assert (found.path / picture).read_bytes()[:4] == b"\x89PNG"
    lines = "\n".join(found.lines())
    assert "6 trials: 6 finished" in lines
    assert "chose it among 6 trials, so its score there is too good" in lines
    assert "accuracy" in lines


def test_the_same_call_finds_nothing_to_do_and_more_trials_go_on(found: Search) -> None:
    before = [(t.number, t.values, t.objectives) for t in found.trials]
    again = tw.tune(QUICK, space=SPACE, trials=6, out=found.path, quiet=True)
    assert [(t.number, t.values, t.objectives) for t in again.trials] == before
    longer = tw.tune(found.path, trials=7, quiet=True)
    assert [(t.number, t.values, t.objectives) for t in longer.trials][:6] == before
    assert len(longer.trials) == 7


def test_a_folder_of_another_search_is_not_gone_on_with(found: Search) -> None:
    for changed, message in (
        ({"changes": {"model.width": 9}}, r"another recipe \(model.width: 8 -> 9\)"),
        ({"space": SPACE[:2]}, "another space"),
        ({"sampler": "random"}, "sampler tpe, not random"),
    ):
        with pytest.raises(UserError, match=message):
            tw.tune(**{"recipe": QUICK, "space": SPACE, "trials": 6, "out": found.path, **changed})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="can only go on as it is"):
        tw.tune(found.path, space=["model.depth=1..2"])
    with pytest.raises(UserError, match="holds a search; go on with it: trainwright tune"):
        tw.train(QUICK, out=found.path)


def study_of(folder: Path, **more: Any) -> tuple[Plan, dict[str, Any]]:
    """A study without a trial."""
    space = {"optimizer.lr": Range("optimizer.lr", 1e-3, 1e-1, log=True), "model.depth": Range("model.depth", 1, 3)}
    plan = replace(Plan(space=space, id=new_id("test"), trials=4, names=("valid accuracy",)), **more)
    folder.mkdir()
    write_plan(plan, folder)
    assert read_plan(folder) == plan
    return plan, plain(read(QUICK).config.model_dump())


def test_two_workers_never_take_the_same_trial_and_a_dead_ones_is_taken_up(tmp_path: Path) -> None:
    plan, recipe = study_of(tmp_path / "s")
    one, two = (Worker(tmp_path / "s", plan, recipe, lambda told: None) for _ in "ab")
    a, b, c = one._take(), two._take(), one._take()
    assert a is not None
    assert b is not None
    assert c is not None
    assert len({a[0], b[0], c[0]}) == 3
    assert len({json.dumps(t[1]) for t in (a, b, c)}) == 3
    two.close()  # as a kill would leave it
    assert one._take() == b
    last = one._take()
    assert last is not None
    assert last[0] == 3
    assert one._take() is None
    one.close()


def test_a_trial_that_died_before_it_had_its_values_counts_for_nothing(tmp_path: Path) -> None:
    plan, recipe = study_of(tmp_path / "s", trials=1)
    opened(tmp_path / "s", plan).ask()
    worker = Worker(tmp_path / "s", plan, recipe, lambda told: None)
    taken = worker._take()
    assert taken is not None
    assert worker._take() is None
    assert [t.number for t in Search(tmp_path / "s", plan).trials] == [taken[0]]
    worker.close()


def test_an_interrupted_trial_is_resumed_and_ends_as_if_nothing_had_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tw.tune(QUICK, space=SPACE[:2], trials=2, out=tmp_path / "whole", quiet=True)
    train = trials.train

    def stop(event: Event) -> tw.Stop | None:
        return tw.Stop("SIGTERM", "interrupted") if isinstance(event, StepDone) and event.step >= 5 else None

    def interrupted(recipe: Any, changes: Any, *, observers: Any, **told: Any) -> tw.Run:
        return train(recipe, {**changes, "log_every": 1}, observers=[*observers, stop], **told)

    monkeypatch.setattr(trials, "train", interrupted)
    cut = tw.tune(QUICK, space=SPACE[:2], trials=2, out=tmp_path / "cut", quiet=True)
    assert cut.interrupted == "SIGTERM"
    assert [t.state for t in cut.trials] == ["running"]
    monkeypatch.undo()
    cut = tw.tune(QUICK, space=SPACE[:2], trials=2, out=tmp_path / "cut", quiet=True)
    assert cut.interrupted == ""
    assert [(t.values, t.objectives) for t in cut.trials] == [(t.values, t.objectives) for t in whole.trials]
    assert len(read_view(cut.trials[0].run).attempts) == 2


def test_a_torn_line_of_the_journal_is_taken_away_before_the_next(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    one = journal(file)
    one.append_logs([{"a": 1}])
    with file.open("ab") as torn:
        torn.write(b'{"b": ' + b"2" * 10_000)
    journal(file).append_logs([{"c": 3}])
    assert list(journal(file).read_logs(0)) == [{"a": 1}, {"c": 3}]
    assert list(one.read_logs(1)) == [{"c": 3}]


def test_a_pruner_ends_trials_that_promise_little(tmp_path: Path) -> None:
    space = {"optimizer.lr": [0.03, 1e-6, 1e-5, 1e-4]}
    search = tw.tune(
        {**QUICK, "budget": "9 epochs", "monitor": "loss"},
        space=space, trials=4, pruner="asha", sampler="grid", out=tmp_path / "s", quiet=True,
    )  # fmt: skip
    steps = {t.values["optimizer.lr"]: (t.state, t.steps) for t in search.trials}
    assert steps[0.03] == ("finished", 27)
    pruned = [t for t in search.trials if t.state == "pruned"]
    assert pruned
    assert all(t.steps < 27 and t.why.startswith("pruned by asha after") for t in pruned)
    assert tw.open(pruned[0].run).state == "stopped"
    assert search.best is not None
    assert search.best.values["optimizer.lr"] == 0.03


def test_a_broken_trial_is_told_and_the_search_goes_on(tmp_path: Path) -> None:
    search = tw.tune(
        {**QUICK, "optimizer": "sgd", "on_nan": "stop"},
        space={"optimizer.lr": [1e6, 0.1]}, sampler="grid", out=tmp_path / "s", quiet=True,
    )  # fmt: skip
    states = {t.values["optimizer.lr"]: t.state for t in search.trials}
    assert states == {1e6: "broken", 0.1: "finished"}
    broken = next(t for t in search.trials if t.state == "broken")
    assert broken.why
    assert f"broken: {broken.why}" in search.line(broken)


def test_where_all_trials_fail_alike_the_search_says_so(tmp_path: Path) -> None:
    def broken(event: Event) -> None:
        if isinstance(event, StepDone):
            raise NumericsError("the loss was NaN")

    with pytest.MonkeyPatch.context() as patch:
        whole = trials.train
        patch.setattr(trials, "train", lambda *a, observers, **k: whole(*a, observers=[broken], **k))
        with pytest.raises(UserError, match=r"the first 3 trials all failed: .*the loss was NaN"):
            tw.tune(QUICK, space=["model.depth=1..3"], trials=6, out=tmp_path / "s", quiet=True)


def test_several_objectives_have_a_front(tmp_path: Path) -> None:
    search = tw.tune(
        QUICK, space={"model.width": [2, 8, 64]}, objectives=["score", "size", "seconds"], sampler="grid",
        out=tmp_path / "s", quiet=True,
    )  # fmt: skip
    assert search.plan.directions == ("higher", "lower", "lower")
    assert search.plan.names == ("valid accuracy", "parameters", "seconds")
    sizes = {t.values["model.width"]: t.objectives[1] for t in search.trials}
    assert sizes[2] < sizes[8] < sizes[64]
    assert next(t for t in search.trials if t.values["model.width"] == 2) in search.front
    assert search.best is not None
    assert search.best.objectives[0] == max(t.objectives[0] for t in search.trials)
    assert (search.path / "front.png").is_file()
    assert "none is better in everything than one of these" in search.lines() or len(search.front) == 1


def test_a_grid_has_no_more_trials_than_points_and_none_twice(tmp_path: Path) -> None:
    plan, recipe = study_of(tmp_path / "s", sampler="grid", trials=None)
    space = {"optimizer.lr": Range("optimizer.lr", choices=(0.1, 0.01)), "model.depth": plan.space["model.depth"]}
    plan = replace(plan, space=space)
    assert plan.largest == 6
    workers = [Worker(tmp_path / "s", plan, recipe, lambda told: None) for _ in "ab"]
    taken = [workers[i % 2]._take() for i in range(6)]
    assert len({json.dumps(t[1], sort_keys=True) for t in taken if t}) == 6
    assert workers[0]._take() is None
    for worker in workers:
        worker.close()


def test_values_that_were_tried_are_not_tried_again(tmp_path: Path) -> None:
    plan, recipe = study_of(tmp_path / "s", sampler="random", trials=50)
    plan = replace(
        plan, space={"model.depth": Range("model.depth", 1, 3), "batch_size": Range("batch_size", choices=(16, 32))}
    )
    worker = Worker(tmp_path / "s", plan, recipe, lambda told: None)
    taken = []
    while (one := worker._take()) is not None:
        taken.append(json.dumps(one[1]))
    assert len(taken) == len(set(taken)) == 6
    worker.close()


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "nsga2", "random"])
def test_a_search_goes_on_after_an_interruption_as_if_there_had_been_none(tmp_path: Path, sampler: str) -> None:
    """What is proposed depends on the trials and on the seed alone, not on the process that asks."""
    space = {"a": Range("a", 0.0, 1.0), "b": Range("b", 1e-3, 1.0, log=True)}

    def asked(folder: Path, pauses: bool) -> list[dict[str, Any]]:
        plan = Plan(space=space, sampler=sampler, id="same", trials=14, directions=("lower",))
        folder.mkdir()
        study, found = opened(folder, plan), []
        for number in range(14):
            study = opened(folder, plan) if pauses else study
            at, values = proposed(study, plan, number)
            study.tell(at, (values["a"] - 0.3) ** 2 + values["b"])
            found.append(values)
        return found

    whole = asked(tmp_path / "whole", False)
    assert asked(tmp_path / "cut", True) == whole
    assert len({json.dumps(v) for v in whole}) > 10  # a genetic search may have children like their parents


def test_covariance_adaptation_finds_a_minimum_that_random_search_does_not() -> None:
    space = {k: Range(k, 0.0, 1.0) for k in "abcd"}

    def least(sampler: str) -> float:
        plan = Plan(space=space, sampler=sampler, id=sampler, trials=120, directions=("lower",), seed=1)
        study, reached = optuna.create_study(), []
        for number in range(plan.trials or 0):
            at, values = proposed(study, plan, number)
            reached.append(sum((v - 0.37) ** 2 for v in values.values()))
            study.tell(at, reached[-1])
        return min(reached)

    assert least("cmaes") < least("random") / 10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sampler": "bayes"}, "tune.sampler: 'bayes' is not valid; write 'tpe' or 'gp'"),
        ({"pruner": "best"}, "tune.pruner: 'best' is not valid"),
        ({"trials": 0}, "tune.trials: 0 is out of range"),
        ({"time": "3 epochs"}, "time: '3 epochs' is no time"),
        ({"time": "soon"}, "time: 'soon' is not an amount"),
        ({"objectives": ["f2"]}, "objectives: 'f2' is not measured"),
        ({"objectives": ["score", "score"]}, "objectives: 'score' is named twice"),
        ({"objectives": ["score", "size"], "pruner": "median"}, "ends trials by one score"),
        ({"objectives": ["macro_f1"], "pruner": "median"}, "ends trials by the monitor"),
        ({"objectives": ["score", "size"], "sampler": "cmaes"}, "cmaes seeks one score"),
        ({"sampler": "cmaes", "space": ["optimizer.name=sgd,adamw", "model.depth=1..3"]}, "optimizer.name is a choice"),
        ({"sampler": "cmaes"}, "cmaes needs two keys"),
        ({"sampler": "grid", "space": ["optimizer.lr=0.1..0.2"]}, "a grid needs some"),
        ({"space": ["optimizer.lr=0.1..0.2:points=3"]}, "points belong to a grid"),
        ({"workers": 0}, "0 processes are none"),
        ({"storage": "search.db"}, "storage: 'search.db' is no address"),
        ({"storage": "sqlite://"}, "a database in memory is lost"),
        ({"changes": {"model.depth": 2}}, "is searched, and model.depth is set by the same command"),
        ({"changes": {"data.valid": 0}}, "a search chooses by the validation part, and there is none"),
        ({"join": True}, "holds no search to join"),
        ({"changes": {"ranks": 2}}, "ranks: is 2, and each trial is trained by one process"),
        ({"space": ["model.depth=1..3", "task.loss.label_smoothing=0..0.2"], "changes": {"monitor": "loss"}},
         "changes what the loss is, and the loss is what is sought"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_one_clear_error(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        tw.tune(**{"recipe": QUICK, "space": ["model.depth=1..3"], "out": tmp_path / "s", **given})  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert not (tmp_path / "s" / "study.json").exists()


def test_a_recipe_holds_the_search_and_a_training_leaves_it_alone(tmp_path: Path) -> None:
    recipe = {**QUICK, "tune": {"space": {"model.depth": "1..2"}, "sampler": "grid", "trials": 9}}
    search = tw.tune(recipe, out=tmp_path / "s", quiet=True)
    assert [t.values["model.depth"] for t in search.trials] in ([1, 2], [2, 1])
    assert tw.train(recipe, out=tmp_path / "r", quiet=True).state == "finished"
    with pytest.raises(UserError, match=r"tune.sampleer: unknown option; did you mean 'sampler'"):
        tw.train({**QUICK, "tune": {"sampleer": "grid"}}, out=tmp_path / "x")


def test_the_time_of_a_search_ends_it(tmp_path: Path) -> None:
    plan, recipe = study_of(tmp_path / "s", seconds=1.0, trials=None)
    worker = Worker(tmp_path / "s", plan, recipe, lambda told: None)
    taken = worker._take()
    assert taken is not None
    worker._note(taken[0], seconds=1.5)
    worker.study.tell(taken[0], 0.5)
    assert worker._take() is None
    worker.close()


def test_the_command_searches_with_two_processes_and_says_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["tune", "iris", "budget=1 epochs", "--space", "model.depth", "--trials", "3", "--json"]
    assert main([*line, "--workers", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == "runs/iris-tune"
    assert [t["state"] for t in told["trials"]] == ["finished"] * 3
    assert "test/accuracy" in told["scores"]
    assert main(["tune", "iris", "--space", "optimizer.lrr=1..2"]) == 2
    assert "error: optimizer.lrr: unknown option; did you mean 'lr'?" in capsys.readouterr().err
    assert main(["resume", "runs/iris-tune"]) == 2
    assert "holds a search; go on with it: trainwright tune runs/iris-tune" in capsys.readouterr().err
    assert [r.path.name for r in tw.list_runs()] == ["best"]
    assert not list((tmp_path / "runs" / "iris-tune" / "workers").iterdir())
