"""A search never sees the test part, loses no trial, runs none twice, and writes down what it found."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from trainwright.cli import main
from trainwright.core.errors import NumericsError, UserError
from trainwright.core.events import Event, StepDone
from trainwright.runs import assemble
from trainwright.runs.directory import read_view
from trainwright.runs.recipe import read
from trainwright.tools import trial as trials
from trainwright.tools.searched import Search

QUICK: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.2, "test": 0.2},
    "model": {"name": "mlp", "width": 8},
    "batch_size": 32,
    "budget": "3 epochs",
    "doctor": "off",
}
SPACE = ["optimizer.lr=1e-3..1e-1:log", "model.depth=1..3", "optimizer.name=adamw,sgd", "optimizer.momentum=0..0.9"]


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


def test_a_recipe_holds_the_search_and_a_training_leaves_it_alone(tmp_path: Path) -> None:
    recipe = {**QUICK, "tune": {"space": {"model.depth": "1..2"}, "sampler": "grid", "trials": 9}}
    search = tw.tune(recipe, out=tmp_path / "s", quiet=True)
    assert [t.values["model.depth"] for t in search.trials] in ([1, 2], [2, 1])
    assert tw.train(recipe, out=tmp_path / "r", quiet=True).state == "finished"
    with pytest.raises(UserError, match=r"tune.sampleer: unknown option; did you mean 'sampler'"):
        tw.train({**QUICK, "tune": {"sampleer": "grid"}}, out=tmp_path / "x")


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


def test_a_quiet_search_tells_once_what_all_its_trials_find(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{i % 7},{'c' if i == 0 else 'ab'[i % 2]}" for i in range(60)]
    (tmp_path / "data.csv").write_text("\n".join(["x,kind", *rows]))
    recipe = {**QUICK, "task": {"name": "tabular_classification", "target": "kind"}}
    recipe["data"] = {"source": "table", "path": str(tmp_path / "data.csv"), "valid": 0.2}
    search = tw.tune(recipe, space=["optimizer.lr=1e-3,1e-2"], sampler="grid", out=tmp_path / "s", quiet=True)
    assert [t.state for t in search.trials] == ["finished"] * 2
    words = "the valid part has no record of 1 of the 3 classes"
    said = capsys.readouterr().err
    assert said.count(words) == said.count("exact copies") == 1
    tw.train(recipe, out=tmp_path / "one", quiet=True)
    tw.train(recipe, out=tmp_path / "two", quiet=True)
    assert capsys.readouterr().err.count(words) == 2  # of runs that nobody compares, each tells its own
