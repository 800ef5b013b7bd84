"""Several seeds are several runs: each as if alone, told together, and taken up again where they were interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import trainwright as tw
from trainwright.cli import main
from trainwright.core.errors import NumericsError, UserError
from trainwright.core.events import Event, RunEnded, StepDone
from trainwright.engine import checkpoint
from trainwright.tools import seeds
from trainwright.tools.seeds import Repeats, summarized

QUICK: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.2, "test": 0.2},
    "model": {"name": "mlp", "width": 8},
    "batch_size": 16,
    "budget": "2 epochs",
    "seed": 3,
}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Repeats:
    return tw.repeat(QUICK, seeds=3, out=tmp_path_factory.mktemp("seeds") / "three", quiet=True)


def weights(run: tw.Run) -> bytes:
    folder = run.path / "checkpoints"
    return (checkpoint.at(folder, checkpoint.steps(folder)[-1]) / "model.safetensors").read_bytes()


def test_each_run_is_what_its_seed_gives_alone(three: Repeats, tmp_path: Path) -> None:
    assert three.seeds == [3, 4, 5]
    alone = tw.train(QUICK, {"seed": 4}, out=tmp_path / "alone", quiet=True)
    assert weights(three.runs[4]) == weights(alone)
    assert three.runs[4].metrics == alone.metrics
    assert len({weights(run) for run in three.runs.values()}) == 3
    assert len({run.manifest["seed"] for run in three.runs.values()}) == 3


def test_mean_deviation_and_paired_interval_are_those_of_the_runs(three: Repeats) -> None:
    found = three.summary
    reached = [run.metrics["test/accuracy"] for run in three.runs.values()]
    linear = [run.baselines["linear"]["accuracy"] for run in three.runs.values()]
    assert found.scores["test/accuracy"].mean == pytest.approx(np.mean(reached))
    assert found.scores["test/accuracy"].deviation == pytest.approx(np.std(reached, ddof=1))
    assert found.scores["test/accuracy"].n == 3
    assert found.baselines["linear"]["accuracy"].mean == pytest.approx(np.mean(linear))
    apart = found.differences["linear"]["accuracy"]
    reference = stats.ttest_rel(reached, linear).confidence_interval(0.95)
    assert apart.value == pytest.approx(np.mean(reached) - np.mean(linear))
    assert (apart.low, apart.high) == pytest.approx((reference.low, reference.high))


def test_the_folder_tells_the_same_to_a_machine(three: Repeats) -> None:
    told = json.loads((three.path / "seeds.json").read_text())
    assert told == json.loads(json.dumps(three.as_json()))
    assert told["seeds"] == [3, 4, 5]
    assert {run["state"] for run in told["runs"].values()} == {"finished"}
    assert told["scores"]["test/accuracy"].keys() == {"mean", "deviation", "n"}
    assert {run.path.name for run in tw.list_runs(three.path.parent)} == {"seed-3", "seed-4", "seed-5"}


def test_one_run_alone_has_no_interval_and_no_deviation() -> None:
    ended = RunEnded(1, "finished", "", 1.0, {"test/m": 0.5}, {"linear": {"m": 0.25}})
    found = summarized([ended])
    assert found.scores["test/m"].deviation == 0
    assert found.differences == {}
    assert summarized([]).scores == {}


def test_a_baseline_that_only_some_runs_had_time_for_is_paired_with_those() -> None:
    ends = [
        RunEnded(1, "finished", "", 1.0, {"test/m": own}, {"boosting": {"m": other}} if other else {})
        for own, other in ((0.5, 0.4), (0.9, 0.0), (0.7, 0.5))
    ]
    found = summarized(ends)
    assert found.baselines["boosting"]["m"].n == 2
    assert found.differences["boosting"]["m"].value == pytest.approx(0.15)
    assert found.scores["test/m"].n == 3


def test_nan_among_the_scores_is_not_hidden(tmp_path: Path) -> None:
    ends = [RunEnded(1, "finished", "", 1.0, {"test/m": value}) for value in (0.5, float("nan"))]
    assert np.isnan(summarized(ends).scores["test/m"].mean)


def test_what_was_interrupted_goes_on_and_what_is_finished_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, three: Repeats
) -> None:
    """Ctrl-C in the middle of the second run, then a kill before the third: everything ends as if nothing had been."""

    def stop(event: Event) -> tw.Stop | None:
        return tw.Stop("SIGINT", "interrupted") if isinstance(event, StepDone) and event.step >= 6 else None

    def interrupted(recipe: Any, changes: Any, **options: Any) -> tw.Run:
        if changes["seed"] == 4:
            return tw.train(recipe, {**changes, "log_every": 2}, observers=[stop], **options)
        return tw.train(recipe, changes, **options)

    monkeypatch.setattr(seeds, "train", interrupted)
    found = tw.repeat(QUICK, seeds=3, out=tmp_path / "runs", quiet=True)
    assert {seed: run.state for seed, run in found.runs.items()} == {3: "finished", 4: "interrupted"}
    head, *rows = found.lines()
    assert head == "1 of 3 seeds: one run tells no deviation"
    assert rows
    assert not any("±" in row or "over seeds" in row for row in rows)
    before = (found.folder(3) / "events.jsonl").read_bytes()
    monkeypatch.undo()
    again = tw.repeat(found.path, quiet=True)
    assert {seed: run.state for seed, run in again.runs.items()} == dict.fromkeys((3, 4, 5), "finished")
    assert (found.folder(3) / "events.jsonl").read_bytes() == before
    for seed in (3, 4, 5):
        assert weights(again.runs[seed]) == weights(three.runs[seed])
    assert again.summary.scores == three.summary.scores


def test_a_broken_seed_is_noted_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(recipe: Any, changes: Any, **options: Any) -> tw.Run:
        if changes["seed"] == 1:
            raise NumericsError("the model is broken: its loss is nan")
        return tw.train(recipe, changes, **options)

    monkeypatch.setattr(seeds, "train", broken)
    folder = tmp_path / "runs"
    code = main(["train", "iris", "--epochs", "1", "--seeds", "3", "--out", str(folder), "--json"])
    told = capsys.readouterr()
    assert code == 77
    assert "error: seed 1: the model is broken" in told.err
    summary = json.loads(told.out)
    assert summary["failed"].keys() == {"1"}
    assert summary["scores"]["test/accuracy"]["n"] == 2


def test_a_mistake_ends_it_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"optimizer\.lrr"):
        tw.repeat(QUICK, {"optimizer.lrr": 1.0}, seeds=3, out=tmp_path / "runs", quiet=True)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(UserError, match="seeds: 0 runs are none"):
        tw.repeat(QUICK, seeds=0, quiet=True)


def test_the_command_line_says_mean_and_deviation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "runs")
    assert main(["train", "iris", "--epochs", "1", "--seeds", "2", "--out", folder]) == 0
    said = capsys.readouterr().out
    assert "seed 0, 1 of 2" in said
    assert "2 of 2 seeds: mean ± deviation of single runs" in said
    mean = Repeats(Path(folder)).summary.scores["test/accuracy"]
    assert f"{mean.mean:.4f} ± " in said
    assert "over seeds" in said
    assert main(["resume", folder]) == 0  # nothing is left to do
    assert main(["train", "iris", "--seeds", "2", "--out", folder]) == 2
    assert f"trainwright resume {folder}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "iris", "--seeds", "2", "--exist-ok"], "--seeds: does not go together with --exist-ok"),
        (["train", "--resume", "x", "--seeds", "2"], "--seeds: does not go together with --resume"),
        (["train", "iris", "--seeds", "0"], "seeds: 0 runs are none"),
    ],
)
def test_what_does_not_go_together_is_said(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_a_change_while_going_on_is_refused(three: Repeats, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", str(three.path), "--epochs", "9"]) == 2
    assert "cannot change in runs of several seeds" in capsys.readouterr().err
