"""Which checkpoints a run keeps, and what it says where one could not be written."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch

import trainwright as tw
from tests.faults import Faults
from tests.runs.test_begin import QUICK
from trainwright.core.errors import StorageError, UserError
from trainwright.core.events import StepDone
from trainwright.engine import checkpoint, disk


def trained(folder: Path, **keys: Any) -> tw.Run:
    return tw.train({**QUICK, "budget": "12 steps", "save_every": "1 step", **keys}, out=folder, quiet=True)


def steps(run: tw.Run) -> set[int]:
    return set(checkpoint.steps(run.path / "checkpoints"))


def test_the_last_the_best_and_the_multiples_are_kept(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", keep_last=3, keep_every="5 steps")
    best = next(e.step for e in reversed(run.view.evals) if e.best)
    assert steps(run) == {10, 11, 12, 5, best}
    assert steps(trained(tmp_path / "other")) == {12, best}


def test_every_checkpoint_that_was_written_is_told_once(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    assert [e.step for e in run.view.checkpoints] == list(range(1, 13))


def test_saving_every_step_or_never_gives_the_same_weights(tmp_path: Path) -> None:
    often, seldom = trained(tmp_path / "often"), trained(tmp_path / "seldom", save_every="12 steps")
    ours, theirs = often.model.state_dict(), seldom.model.state_dict()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


class Breaks:
    """A disk on which checkpoints cannot be written from some step on, for a while."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, first: int, last: int) -> None:
        self.step, self.first, self.last, self.own = 0, first, last, disk.write
        monkeypatch.setattr("trainwright.engine.disk.write", self.write)

    def write(self, path: Path, pieces: Any) -> tuple[int, str]:
        place = path.parent.name
        if place.startswith(".writing-") and self.first <= int(place.split("-")[1]) <= self.last:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.own(path, pieces)


def test_a_disk_that_is_full_for_a_while_costs_checkpoints_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = trained(tmp_path / "plain")
    Breaks(monkeypatch, 4, 9)
    run = trained(tmp_path / "run")
    assert run.state == "finished"
    assert {e.step for e in run.view.checkpoints} == {1, 2, 3, 10, 11, 12}
    missed = [f for f in run.findings if f.rule == "checkpoint_missed"]
    assert [f.evidence["in_a_row"] for f in missed] == [1, 2, 4], "said ever more seldom"
    assert "No space left on device" in missed[0].what
    ours, theirs = checkpoint.load(checkpoint.at(run.path / "checkpoints", 12)), plain.path / "checkpoints"
    same = checkpoint.load(checkpoint.at(theirs, 12))
    assert all(torch.equal(ours["model"][k], same["model"][k]) for k in same["model"])


def test_a_last_checkpoint_that_cannot_be_written_is_an_error_and_the_older_one_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        Breaks(broken, 8, 99)
        with pytest.raises(StorageError, match="checkpoint of step 12 could not be written: No space left") as told:
            trained(tmp_path / "run")
    assert told.value.exit_code == 74
    again = tw.resume(tmp_path / "run", quiet=True)
    assert again.view.attempts[-1].from_step == 7
    plain = trained(tmp_path / "plain")
    assert again.view.losses == plain.view.losses


def test_the_policy_stop_stops_after_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        Breaks(broken, 3, 99)
        with pytest.raises(StorageError):
            trained(tmp_path / "run", on_save_failure="stop", log_every=1, budget="90 steps")
    steps_done = [e for e in tw.open(tmp_path / "run").view.steps if isinstance(e, StepDone)]
    assert 5 <= steps_done[-1].step <= 8


def test_damaged_checkpoints_are_set_aside_and_told_when_a_run_is_resumed(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", keep_last=3)
    (checkpoint.at(run.path / "checkpoints", 12) / "model.safetensors").write_bytes(b"damaged")
    again = tw.resume(run.path, {"budget": "14 steps"}, quiet=True)
    assert again.view.attempts[-1].from_step == 11
    assert "step-00000012 is damaged" in again.manifest["data"]["damaged"][0]
    whole = trained(tmp_path / "whole", budget="14 steps")
    assert again.view.losses == whole.view.losses


@pytest.mark.parametrize(("key", "value"), [("keep_every", "3 minutes"), ("keep_last", 0), ("on_save_failure", "die")])
def test_a_policy_that_makes_no_sense_is_one_message(key: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=key):
        trained(tmp_path / "run", **{key: value})


def test_the_control_faults_reach_the_disk(tmp_path: Path) -> None:
    with Faults(1, "full").active(), pytest.raises(OSError, match="No space"):
        disk.write(tmp_path / "file", [b"x"])
