"""A cross-validation is a run for each fold: judged on records it never saw, told together, and taken up again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.model_selection import StratifiedKFold

import trainwright as tw
from trainwright.cli import main
from trainwright.core.errors import NumericsError, UserError
from trainwright.core.events import Event, StepDone
from trainwright.runs.learned import read_learned
from trainwright.tools import crossval as module
from trainwright.tools.folded import Folds, mean_of

QUICK: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.1, "test": 0.2},
    "model": {"name": "mlp", "width": 8},
    "batch_size": 16,
    "budget": "2 epochs",
    "seed": 3,
    "doctor": "off",
}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Folds:
    return tw.crossval(QUICK, folds=3, out=tmp_path_factory.mktemp("folds") / "three", quiet=True)


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))


def test_each_record_is_answered_by_the_model_that_never_saw_it(three: Folds) -> None:
    found = rows(three.predictions)
    assert [int(r["record"]) for r in found] == list(range(150))
    labels = [r["species" if "species" in r else "target"] for r in found]
    folds = np.array([int(r["fold"]) for r in found])
    theirs = StratifiedKFold(3, shuffle=True, random_state=3).split(np.zeros(150), labels)
    for number, (_, held) in enumerate(theirs, 1):
        assert np.flatnonzero(folds == number).tolist() == held.tolist()
    for fold, run in three.finished.items():
        mine = [r for r in found if int(r["fold"]) == fold.number + 1]
        right = np.mean([r["label"] == r["target"] for r in mine])
        assert right == pytest.approx(run.metrics["test/accuracy"])


def test_what_a_fold_knows_of_the_data_comes_from_its_own_training_part(tmp_path: Path) -> None:
    """A record that is far from all others moves the scaling of every fold but its own."""
    records = ["x,y"] + [f"{i % 7},{i % 2}" for i in range(59)] + ["1000000,0"]
    (tmp_path / "table.csv").write_text("\n".join(records) + "\n")
    recipe = {
        **QUICK,
        "task": {"name": "tabular_classification", "target": "y", "scaling": "standard"},
        "data": {"source": "table", "path": str(tmp_path / "table.csv"), "valid": 0},
    }
    found = tw.crossval(recipe, folds=3, split="random", out=tmp_path / "folds", quiet=True)
    holding = {int(r["record"]): int(r["fold"]) for r in rows(found.predictions)}[59]
    for fold, run in found.finished.items():
        learned = json.dumps(read_learned(run.path / "processor.json"))
        numbers = [float(word) for word in learned.replace("[", " ").replace("]", " ").replace(",", " ").split()
                   if word.replace(".", "", 1).replace("e", "", 1).replace("-", "").isdigit()]  # fmt: skip
        assert (max(numbers) > 1000) == (fold.number + 1 != holding)


def test_mean_deviation_and_interval_are_those_of_the_folds(three: Folds) -> None:
    reached = [run.metrics["test/accuracy"] for run in three.finished.values()]
    found = three.scores["test/accuracy"]
    assert (found.mean, found.n) == (pytest.approx(np.mean(reached)), 3)
    assert found.deviation == pytest.approx(np.std(reached, ddof=1))
    half = stats.t.ppf(0.975, 2) * np.std(reached, ddof=1) * (1 / 3 + 50 / 100) ** 0.5  # Nadeau & Bengio, eq. 7
    assert (found.low, found.high) == (pytest.approx(found.mean - half), pytest.approx(found.mean + half))
    apart = three.differences["linear"]["accuracy"]
    linear = [run.baselines["linear"]["accuracy"] for run in three.finished.values()]
    assert apart.value == pytest.approx(np.mean(reached) - np.mean(linear))
    assert apart.low <= apart.value <= apart.high
    assert mean_of([0.5], 0.25).low == 0.5
    assert np.isnan(mean_of([0.5, float("nan")], 0.25).mean)


def test_the_folder_tells_the_same_to_a_machine_and_in_pictures(three: Folds) -> None:
    told = json.loads((three.path / "result.json").read_text())
    assert told == json.loads(json.dumps(three.as_json()))
    table = rows(three.path / "folds.csv")
    assert [float(r["test/accuracy"]) for r in table] == [r.metrics["test/accuracy"] for r in three.finished.values()]
    assert {(r["train"], r["valid"], r["test"]) for r in table} == {("85", "15", "50")}
    assert (three.path / "folds.png").read_bytes()[:4] == b"\x89PNG"
    head, titles, first, *_ = three.lines()
    assert head.startswith("3 of 3 folds: mean ± deviation")
    assert titles.split()[:2] == ["folds", "interval"]
    assert first.startswith("accuracy")
    runs = {run.path.name for run in tw.list_runs(three.path)}
    assert runs == {"fold-1", "fold-2", "fold-3"}


def test_a_fold_is_what_its_recipe_gives_alone(three: Folds, tmp_path: Path) -> None:
    config = three.runs[three.all[1]].path / "config.toml"
    alone = tw.train(config, out=tmp_path / "alone", quiet=True)
    assert alone.metrics == three.runs[three.all[1]].metrics


def test_what_was_interrupted_goes_on_and_what_is_finished_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, three: Folds
) -> None:
    def stop(event: Event) -> tw.Stop | None:
        return tw.Stop("SIGINT", "interrupted") if isinstance(event, StepDone) and event.step >= 7 else None

    def interrupted(recipe: Any, changes: Any, *, observers: Any, **told: Any) -> tw.Run:
        late = [stop] if changes["data.fold"]["number"] == 1 else []
        return tw.train(recipe, {**changes, "log_every": 1}, observers=[*observers, *late], **told)

    monkeypatch.setattr(module, "train", interrupted)
    found = tw.crossval(QUICK, folds=3, out=tmp_path / "folds", quiet=True)
    assert found.interrupted == "SIGINT"
    assert [r.state for r in found.runs.values()] == ["finished", "interrupted"]
    assert not found.predictions.exists()
    before = (found.folder(found.all[0]) / "events.jsonl").read_bytes()
    monkeypatch.undo()
    again = tw.crossval(QUICK, folds=3, out=tmp_path / "folds", quiet=True)
    assert (again.folder(again.all[0]) / "events.jsonl").read_bytes() == before
    assert {k: v.mean for k, v in again.scores.items()} == {k: v.mean for k, v in three.scores.items()}
    assert again.predictions.read_bytes() == three.predictions.read_bytes()


def test_a_fold_that_another_process_trains_is_left_to_it(tmp_path: Path) -> None:
    source, plan = dict(QUICK), module.Plan(2, 1, 3)
    folder, recipe = module._begun(source, {}, {"folds": 2}, tmp_path / "folds", False)
    assert module.read_plan(folder) == plan
    (folder / "workers" / "fold-1").mkdir(parents=True)
    lock = module.Lock(folder / "workers" / "fold-1")
    found = tw.crossval(folder, quiet=True)
    assert [f.number for f in found.finished] == [1]
    assert not found.predictions.exists()
    lock.release()
    assert len(tw.crossval(folder, quiet=True).finished) == 2
    assert recipe["data"].keys() == {"source", "set", "valid"}  # the recipe's own test part is not asked for


def test_a_broken_fold_is_noted_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(recipe: Any, changes: Any, **told: Any) -> tw.Run:
        if changes["data.fold"]["number"] == 0:
            raise NumericsError("the loss was NaN")
        return tw.train(recipe, changes, **told)

    monkeypatch.setattr(module, "train", broken)
    found = tw.crossval(QUICK, folds=2, out=tmp_path / "folds", quiet=True)
    assert found.failed == {"fold-1": "the loss was NaN"}
    assert [f.number for f in found.finished] == [1]
    assert found.lines()[0].startswith("1 of 2 folds")


def test_a_search_within_each_fold_never_sees_the_fold(tmp_path: Path) -> None:
    found = tw.crossval(
        QUICK, folds=2, space=["optimizer.lr=1e-3..1e-1:log"], trials=2, out=tmp_path / "folds", quiet=True
    )
    assert len(found.finished) == 2
    for fold in found.all:
        study = found.folder(fold)
        trials = tw.list_runs(study / "trials")
        assert len(trials) == 2
        assert {k.partition("/")[0] for t in trials for k in t.metrics} == {"valid"}
        assert found.runs[fold].manifest["data"]["parts"] == trials[0].manifest["data"]["parts"]
    assert len(rows(found.predictions)) == 150


def test_repeats_have_a_row_for_each_record_and_repetition(tmp_path: Path) -> None:
    found = tw.crossval(QUICK, {"budget": "1 steps"}, folds=2, repeats=2, out=tmp_path / "folds", quiet=True)
    assert [f.path.name for f in found.runs.values()] == [
        "repeat-1-fold-1", "repeat-1-fold-2", "repeat-2-fold-1", "repeat-2-fold-2",
    ]  # fmt: skip
    assert len(rows(found.predictions)) == 300


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"folds": 1}, "folds: 1 divide nothing"),
        ({"repeats": 0}, "repeats: 0 repetitions are none"),
        ({"repeats": 2, "split": "chronological"}, "repeats: stretches of time have one order"),
        ({"split": "ranges"}, "split: 'ranges' makes no folds; choose one of: random, stratified, grouped, chronolog"),
        ({"split": "grouped"}, "data.group: required by split"),
        ({"group": "nobody"}, "records have no field 'nobody'"),
        ({"trials": 3}, "trials: belongs to a search within each fold"),
        ({"folds": 400}, "too few for 400 folds"),
        ({"workers": 0}, "0 processes are none"),
        ({"join": True}, "holds no cross-validation to join"),
    ],
)
def test_what_makes_no_folds_is_one_clear_error(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        tw.crossval(**{"recipe": QUICK, "out": tmp_path / "folds", "quiet": True, **given})
    assert message in str(caught.value)
    assert not (tmp_path / "folds").exists()  # so that the mistake can be mended under the same name


def test_a_folder_of_other_folds_is_not_gone_on_with(three: Folds) -> None:
    for changed, message in (
        ({"folds": 4}, r"holds another cross-validation \(folds: 3 -> 4\)"),
        ({"changes": {"model.width": 9}}, r"another recipe \(model.width: 8 -> 9\)"),
    ):
        with pytest.raises(UserError, match=message):
            tw.crossval(**{"recipe": QUICK, "folds": 3, "out": three.path, **changed})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="can only go on as it is; folds would change it"):
        tw.crossval(three.path, folds=4)


def test_the_command_says_what_the_folds_reached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["crossval", "iris", "budget=1 steps", "--folds", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == "runs/iris-crossval"
    assert set(told["scores"]["test/accuracy"]) == {"mean", "deviation", "low", "high", "n"}
    assert main(["crossval", "iris", "--folds", "1"]) == 2
    assert "error: folds: 1 divide nothing" in capsys.readouterr().err
