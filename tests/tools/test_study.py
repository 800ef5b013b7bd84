"""A study loses no trial, gives none to two workers, proposes the same after a kill, and refuses nonsense."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

import trainwright as tw
from trainwright.core.errors import UserError
from trainwright.runs.recipe import plain, read
from trainwright.tools.journal import journal
from trainwright.tools.searched import Search
from trainwright.tools.space import Range
from trainwright.tools.study import Plan, new_id, opened, proposed, pruner_of, read_plan, write_plan
from trainwright.tools.trial import Worker

QUICK: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.2, "test": 0.2},
    "model": {"name": "mlp", "width": 8},
    "batch_size": 32,
    "budget": "3 epochs",
    "doctor": "off",
}


def study_of(folder: Path, **more: Any) -> tuple[Plan, dict[str, Any]]:
    """A study without a trial."""
    space = {"optimizer.lr": Range("optimizer.lr", 1e-3, 1e-1, log=True), "model.depth": Range("model.depth", 1, 3)}
    plan = replace(Plan(space=space, id=new_id("test", 0, ""), trials=4, names=("valid accuracy",)), **more)
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


def test_a_torn_line_of_the_journal_is_taken_away_before_the_next(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    one = journal(file)
    one.append_logs([{"a": 1}])
    with file.open("ab") as torn:
        torn.write(b'{"b": ' + b"2" * 10_000)
    journal(file).append_logs([{"c": 3}])
    assert list(journal(file).read_logs(0)) == [{"a": 1}, {"c": 3}]
    assert list(one.read_logs(1)) == [{"c": 3}]


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


def ended(folder: Path, seed: int) -> list[int]:
    """After how many of nine evaluations Hyperband ends each of twenty trials, which differ in what they reach."""
    plan, _ = study_of(folder, pruner="hyperband", evaluations=9, seed=seed, id=new_id("test", seed, ""))
    study, after = opened(folder, plan), []
    study.pruner = pruner_of(plan)
    for number in range(20):
        trial = study.ask()
        for step in range(1, 10):
            trial.report(-((number * 7) % 20) * step, step)
            if trial.should_prune():
                break
        after.append(step)
        study.tell(trial, -((number * 7) % 20) * step)
    return after


def test_hyperband_repeats_by_the_seed(tmp_path: Path) -> None:
    once, again, other = ended(tmp_path / "a", 0), ended(tmp_path / "b", 0), ended(tmp_path / "c", 1)
    assert once == again
    assert once != other
    assert new_id("test", 0, "sqlite:///one.db") != new_id("test", 0, "sqlite:///one.db")


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


def test_a_database_without_its_driver_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as where it is not installed
    with pytest.raises(UserError, match=r'^storage: needs psycopg to speak .*; pip install "psycopg\[binary\]"$'):
        tw.tune(QUICK, space=["model.depth=1..3"], out=tmp_path / "s", storage="postgresql://me@127.0.0.1/search")


def test_the_time_of_a_search_ends_it(tmp_path: Path) -> None:
    plan, recipe = study_of(tmp_path / "s", seconds=1.0, trials=None)
    worker = Worker(tmp_path / "s", plan, recipe, lambda told: None)
    taken = worker._take()
    assert taken is not None
    worker._note(taken[0], seconds=1.5)
    worker.study.tell(taken[0], 0.5)
    assert worker._take() is None
    worker.close()
