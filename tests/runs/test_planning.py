"""The plan of a run: measured on a rehearsal without a trace, taken only where it is right, written down, followed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import trainwright as tw
from trainwright.core.config import Plan, read_recipe
from trainwright.runs import candidates, planning
from trainwright.runs.candidates import CANDIDATES, Candidate
from trainwright.runs.planning import as_it_ran

MAY = planning._may  # which the other tests are without
RECIPE = {
    "task": "image_classification",
    "data": {"source": "embedded", "set": "digits"},
    "model": {"name": "cnn", "filters": [4], "dense": [16], "dropout": 0.3},
    "batch_size": 32,
    "budget": "12 steps",
    "eval_every": "6 steps",
    "doctor": "off",
}


@pytest.fixture(autouse=True)
def _long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the training were so long that every candidate can be tried; what is faster does not hang on a clock."""
    monkeypatch.setattr(planning, "_may", MAY)
    monkeypatch.setattr(planning, "_SHARE", 1e9)
    monkeypatch.setattr(planning, "_faster", lambda now, then, least: True)
    monkeypatch.setattr(planning, "_hinders", lambda with_it, without: False)
    monkeypatch.setattr(candidates, "has_bfloat16", lambda device: True)


def train(folder: Path, **changes: Any) -> tw.Run:
    return tw.train({**RECIPE, **changes}, out=folder, quiet=True)


def taken(run: tw.Run) -> set[str]:
    """What of its plan was taken."""
    return {name for name, on in run.config["pace"].items() if on}


def weights(run: tw.Run) -> dict[str, torch.Tensor]:
    return dict(run.model.state_dict())


def alike(a: tw.Run, b: tw.Run) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a).values(), weights(b).values(), strict=True))


def test_what_is_found_is_written_down_and_followed_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(tmp_path / "first")
    everything = ("pool_first", "channels_last", "fused", "quick_dropout", "bfloat16")
    assert taken(first) == set(everything)
    assert first.config["precision"] == "bfloat16"
    told = first.manifest["plan"]
    assert told["precision"] == "bfloat16"
    names = ["channels last", "max-pool before ReLU", "fused optimizer", "bfloat16", "quick dropout"]
    assert [line.partition(":")[0] for line in told["why"]] == names
    assert all("taken, " in line and "ms a step instead of" in line for line in told["why"])

    monkeypatch.setattr(planning, "_Rehearsal", None)  # nothing is measured again
    again = tw.train(tmp_path / "first" / "config.toml", out=tmp_path / "again", quiet=True)
    assert again.config["pace"] == first.config["pace"]
    assert alike(first, again)
    assert not alike(first, train(tmp_path / "plain", pace="plain"))


def test_a_resumed_run_follows_its_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(tmp_path / "whole")
    half = train(tmp_path / "half", budget="6 steps").path
    monkeypatch.setattr(planning, "_Rehearsal", None)
    more = tw.resume(half, {"budget": "12 steps"}, quiet=True)
    assert more.manifest["plan"]["precision"] == "bfloat16"
    assert more.config["pace"] == whole.config["pace"]
    assert alike(more, whole)
    with pytest.raises(tw.UserError, match="pace"):
        tw.resume(half, {"pace": "plain", "budget": "20 steps"}, quiet=True)


def test_a_rehearsal_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_faster", lambda now, then, least: False)
    tried = train(tmp_path / "tried")
    assert set(tried.config["pace"].values()) == {False}
    assert all("not taken, not faster" in line for line in tried.manifest["plan"]["why"])
    assert alike(tried, train(tmp_path / "plain", pace="plain"))


def test_what_gained_nothing_is_tried_again_beside_what_was_taken_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, *[False, False, True, False, False], *[False, True, False, False], *[False, False, False]])
    monkeypatch.setattr(planning, "_faster", lambda now, then, least: next(answers))
    run = train(tmp_path / "run")  # all, five in turn, the four left, of which one gains, three
    with pytest.raises(StopIteration):
        next(answers)
    assert taken(run) == {"pool_first", "fused"}
    why = dict(line.split(": ", 1) for line in run.manifest["plan"]["why"])
    assert why["max-pool before ReLU"].startswith("taken")
    assert why["bfloat16"].startswith("not taken, not faster")


def test_what_gives_other_numbers_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = [replace(c, loss=1e-9) if c.name == "bfloat16" else c for c in CANDIDATES]
    monkeypatch.setattr(planning, "CANDIDATES", strict)
    monkeypatch.setattr(planning._Rehearsal, "_together", lambda self, members, told: (Plan(), ()))
    run = train(tmp_path / "run")
    assert taken(run) == {"pool_first", "channels_last", "fused", "quick_dropout"}
    assert run.config["precision"] == "float32"
    assert "its losses are" in run.manifest["plan"]["why"][4]


def test_all_is_tried_at_once_and_each_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_out = iter([False, True, False, False])  # from the last to the first
    monkeypatch.setattr(planning, "_hinders", lambda with_it, without: next(left_out))
    run = train(tmp_path / "run")
    assert taken(run) == {"pool_first", "channels_last", "bfloat16", "quick_dropout"}
    why = dict(line.split(": ", 1) for line in run.manifest["plan"]["why"])
    assert why["fused optimizer"].startswith("not taken, slower; ")
    assert all(why[name].startswith("taken, ") for name in ("channels last", "bfloat16", "quick dropout"))


def test_what_gives_other_numbers_is_left_out_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together they may be as far off as the one that may be most: what each may be is asked of each."""
    strict = [replace(c, loss=-1.0) if c.name == "channels last" else c for c in CANDIDATES]
    monkeypatch.setattr(planning, "CANDIDATES", strict)
    run = train(tmp_path / "run")
    assert taken(run) == {"pool_first", "fused", "bfloat16", "quick_dropout"}
    assert "its losses are" in dict(line.split(": ", 1) for line in run.manifest["plan"]["why"])["channels last"]


def test_a_short_training_has_time_for_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([True] * 6)  # at each of five whether it can be tried, and at all together
    monkeypatch.setattr(planning._Rehearsal, "_time_for", lambda self, candidate: next(looks, False))
    run = train(tmp_path / "run")
    assert taken(run) == {"pool_first", "channels_last", "fused", "bfloat16"}
    why = dict(line.split(": ", 1) for line in run.manifest["plan"]["why"])
    assert why["bfloat16"].startswith("taken with the others, ")
    assert why["bfloat16"] == why["channels last"]
    assert why["quick dropout"] == "not tried, the training is too short for it to pay"


def test_where_all_is_too_far_off_the_rest_is_tried_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, verdict = list[dict[str, Any]](), planning._verdict

    def strict(now: Any, then: Any, candidate: Candidate, left_out: bool) -> tuple[bool | None, str]:
        given.append(candidate.changes)
        if candidate.changes.get("bfloat16"):
            return None, "not taken, its losses are 0.3 off"
        return verdict(now, then, candidate, left_out)

    monkeypatch.setattr(planning, "_verdict", strict)
    run = train(tmp_path / "run")
    assert [len(changes) for changes in given[:3]] == [4, 3, 1]
    assert taken(run) == {"pool_first", "channels_last", "fused", "quick_dropout"}
    why = dict(line.split(": ", 1) for line in run.manifest["plan"]["why"])
    assert why["bfloat16"] == "not taken, its losses are 0.3 off"


def test_what_fails_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(optimizer: Any, on: bool) -> None:
        if on:
            raise RuntimeError("no such kernel")

    monkeypatch.setattr(planning, "_fused", fail)
    left = [c for c in CANDIDATES if c.name not in ("channels last", "quick dropout")]
    monkeypatch.setattr(planning, "CANDIDATES", left)
    run = train(tmp_path / "run", precision="float32")
    assert run.manifest["plan"]["why"][1] == "fused optimizer: not taken, it fails (RuntimeError: no such kernel)"
    assert alike(run, train(tmp_path / "plain", pace="plain"))  # a max-pool before its ReLU changes no bit


def test_a_short_training_is_run_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_SHARE", 0.02)
    monkeypatch.setattr(planning, "_Rehearsal", None)
    run = train(tmp_path / "run")
    assert set(run.config["pace"].values()) == {False}
    assert run.manifest["plan"]["why"] == []


def test_a_candidate_that_costs_too_much_is_told_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning._Rehearsal, "_limit", lambda self, step: 0.0)
    run = train(tmp_path / "run")
    assert all("not tried" in line for line in run.manifest["plan"]["why"])
    assert len(run.manifest["plan"]["why"]) == len(CANDIDATES) - 1


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_precision_that_was_asked_for_stays(precision: str, tmp_path: Path) -> None:
    run = train(tmp_path / "run", precision=precision)
    assert run.config["precision"] == run.manifest["plan"]["precision"] == precision


def test_numbers_that_are_the_answer_keep_their_digits(tmp_path: Path) -> None:
    recipe = {"task": "tabular_regression", "data": {"source": "embedded", "set": "diabetes"}, "budget": "5 steps"}
    run = tw.train({**recipe, "model": {"name": "mlp", "width": 4}}, out=tmp_path / "run", quiet=True)
    assert run.config["precision"] == "float32"
    assert [line.partition(":")[0] for line in run.manifest["plan"]["why"]] == ["fused optimizer"]


def test_a_column_of_a_table_keeps_its_digits(tmp_path: Path) -> None:
    recipe = {"task": "tabular_classification", "data": {"source": "embedded", "set": "wine"}, "budget": "5 steps"}
    run = tw.train({**recipe, "model": {"name": "mlp", "width": 4}}, out=tmp_path / "run", quiet=True)
    assert not run.config["pace"]["bfloat16"]


def test_plain_measures_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    run = train(tmp_path / "run", pace="plain")
    assert run.config["pace"] == "plain"
    assert (run.manifest["plan"]["why"], run.manifest["plan"]["memory"]) == ([], "returned")


@pytest.mark.parametrize(
    ("now", "then", "faster"),
    [
        ([1.0] * 6, [0.9] * 6, True),
        ([1.0] * 6, [0.97] * 6, False),  # too little
        ([1.0, 1.0, 1.0, 0.5, 0.5, 0.5], [0.6] * 6, False),  # only in one half
        ([1.0, 9.0, 1.0, 1.0, 1.0, 1.0], [1.0] * 6, False),  # a hiccup is no speed
    ],
)
def test_faster_is_by_a_twentieth_in_both_halves(
    now: list[float], then: list[float], faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert planning._faster(now, then, 1.05) is faster


def test_what_gives_the_same_numbers_need_not_gain_as_much() -> None:
    assert planning._faster([1.0] * 6, [0.97] * 6, 1.01)
    for candidate in CANDIDATES:
        assert candidate.least == (
            candidates.SAME if candidate.loss <= 1e-4 and candidate.name != "channels last" else 1.05
        )


def test_every_candidate_says_how_far_it_may_be_off() -> None:
    assert all(isinstance(c, Candidate) for c in CANDIDATES)
    exact = [c for c in CANDIDATES if c.name != "quick dropout"]  # which draws other masks, as another seed would
    assert all(0 <= c.loss <= 0.02 and 0 <= c.gradient <= 0.1 for c in exact)


def test_a_call_goes_on_with_what_its_run_found() -> None:
    base = {"task": "supervised", "data": {"source": "own"}, "model": "own", "optimizer": "own"}
    open_ = read_recipe(base)
    found = as_it_ran(open_, {"pace": {"pool_first": False, "fused": True}, "precision": "bfloat16"})
    assert (found.pace, found.precision) == (Plan(fused=True), "bfloat16")
    old = as_it_ran(open_, {})
    assert (old.pace, old.precision) == ("plain", "float32")
    mine = as_it_ran(read_recipe({**base, "pace": "plain", "precision": "float64"}), {"pace": {"fused": True}})
    assert (mine.pace, mine.precision) == ("plain", "float64")
