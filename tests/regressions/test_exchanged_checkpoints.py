"""Checkpoints that lie in the folder of another run, or under the name of another step: told, never called "exact"."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from trainwright.core.errors import CheckpointError
from trainwright.core.events import Event, StepDone
from trainwright.engine import checkpoint
from trainwright.runs.directory import owner

RECIPE: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.2},
    "model": {"name": "mlp", "width": 4},
    "budget": "8 steps",
    "save_every": "1 step",
    "keep_last": 3,
    "log_every": 1,
}


def halted(event: Event) -> tw.Stop | None:
    return tw.Stop("on purpose", "interrupted") if isinstance(event, StepDone) and event.step == 4 else None


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs of one recipe and two seeds, stopped after the same step."""
    return tuple(  # type: ignore[return-value]
        tw.train(RECIPE, {"seed": seed}, out=tmp_path / f"run-{seed}", observers=[halted], quiet=True).path
        for seed in (1, 2)
    )


def exchange(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between), other.rename(one), between.rename(other)


def older(run: Path) -> None:
    """As a version before the identity left it."""
    for path in (run / "checkpoints").iterdir():
        manifest = json.loads((path / "manifest.json").read_text())
        del manifest["run"], manifest["seal"]
        manifest["format"] = 3
        (path / "manifest.json").write_text(json.dumps({**manifest, "seal": checkpoint._seal(manifest)}))
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["id"]
    (run / "manifest.json").write_text(json.dumps(manifest))


def test_exchanged_folders_of_checkpoints_are_refused_by_whoever_reads_them(runs: tuple[Path, Path]) -> None:
    one, other = runs
    exchange(one / "checkpoints", other / "checkpoints")
    before = sorted(p.name for p in (one / "checkpoints").iterdir())
    for use in (lambda: tw.resume(one, quiet=True), lambda: tw.open(one).model):
        with pytest.raises(CheckpointError, match=r"is of another run \(.*put this run's own there again") as refused:
            use()
        assert refused.value.exit_code == 3
    assert sorted(p.name for p in (one / "checkpoints").iterdir()) == before
    exchange(one / "checkpoints", other / "checkpoints")
    assert tw.resume(one, quiet=True).view.attempts[-1].note == "exact"


def test_one_checkpoint_of_another_run_is_set_aside_and_the_runs_own_before_it_is_taken(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    one, other = runs
    for step in (2, 4):
        shutil.rmtree(checkpoint.at(one / "checkpoints", step))
        shutil.copytree(checkpoint.at(other / "checkpoints", step), one / "checkpoints" / f"step-{step:08d}")
    again = tw.resume(one, quiet=True)
    assert again.view.attempts[-1].from_step == 3
    told = again.manifest["data"]["damaged"]
    assert len(told) == 2, "the older one too, which the run would remove one day"
    assert all("is of another run" in line and "it is now step-" in line for line in told)
    assert len(list((one / "checkpoints").glob("*.foreign-*"))) == 2
    whole = tw.train(RECIPE, {"seed": 1}, out=tmp_path / "whole", quiet=True)
    assert again.view.losses == whole.view.losses


def test_exchanged_steps_of_one_run_are_refused(runs: tuple[Path, Path]) -> None:
    run, _ = runs
    exchange(checkpoint.at(run / "checkpoints", 4), checkpoint.at(run / "checkpoints", 3))
    again = tw.resume(run, quiet=True)
    assert again.view.attempts[-1].from_step == 2
    assert any("is the checkpoint of step 3, under another name" in line for line in again.manifest["data"]["damaged"])


def test_a_copied_or_renamed_run_is_itself(runs: tuple[Path, Path], tmp_path: Path) -> None:
    run, _ = runs
    shutil.copytree(run, tmp_path / "copy")
    run.rename(tmp_path / "moved")
    for folder in (tmp_path / "copy", tmp_path / "moved"):
        assert tw.resume(folder, quiet=True).view.attempts[-1].note == "exact"


def test_a_run_of_an_older_version_gets_an_identity_and_keeps_its_checkpoints(runs: tuple[Path, Path]) -> None:
    one, other = runs
    older(one), older(other)
    again = tw.resume(one, {"keep_last": 9}, quiet=True)
    assert again.view.attempts[-1].note.startswith("exact")
    mine = owner(one)
    assert mine is not None
    assert mine.unsigned == 4
    for step in checkpoint.steps(one / "checkpoints"):
        told = checkpoint.verify(checkpoint.at(one / "checkpoints", step), mine)
        assert told.get("run", mine.run) == mine.run
        assert ("run" in told) == (step > 4)
    last = checkpoint.at(one / "checkpoints", 8)
    shutil.rmtree(last)
    shutil.copytree(checkpoint.at(tw.resume(other, quiet=True).path / "checkpoints", 8), last)
    with pytest.raises(CheckpointError, match="another run"):
        checkpoint.verify(last, mine)
