"""Checkpoints of every format that was ever written go on as the code that wrote them would have."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from trainwright.core.errors import CheckpointError
from trainwright.core.events import Event, StepDone
from trainwright.engine import checkpoint
from trainwright.engine.migrations import FORMAT, migrated
from trainwright.runs.sameness import same

GOLDEN = Path(__file__).parent.parent / "golden"
FORMATS = range(1, FORMAT + 1)
AT = 10


def golden(version: int) -> Path:
    return GOLDEN / f"format-{version}" / f"step-{AT:08d}"


def losses(version: int) -> dict[int, float]:
    """What the code of that time logged of the run that was not stopped."""
    told = json.loads((GOLDEN / f"format-{version}" / "losses.json").read_text())
    return {int(step): loss for step, loss in told.items()}


def stopped(event: Event) -> tw.Stop | None:
    return tw.Stop("enough", "interrupted") if isinstance(event, StepDone) and event.step >= AT else None


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of the golden recipe, stopped after its tenth step."""
    return tw.train(GOLDEN / "recipe.json", out=tmp_path / "run", observers=[stopped], quiet=True).path


def gone_on(run: Path, state: Path) -> tw.Run:
    """From another checkpoint than its own, which is taken for its own."""
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["id"]
    if theirs := json.loads((state / "manifest.json").read_text()).get("run"):
        manifest["id"] = theirs
    (run / "manifest.json").write_text(json.dumps(manifest))
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    shutil.copytree(state, run / "checkpoints" / state.name)
    return tw.resume(run, quiet=True)


@pytest.mark.parametrize("version", FORMATS)
def test_a_checkpoint_of_every_format_goes_on_as_its_own_code_did(version: int, run: Path) -> None:
    manifest = json.loads((golden(version) / "manifest.json").read_text())
    assert manifest["format"] == version, "a golden checkpoint is of the format whose folder it is in"
    again = gone_on(run, golden(version))
    assert again.view.losses == pytest.approx(losses(version), rel=1e-5)
    newest = checkpoint.steps(run / "checkpoints")[-1]
    assert checkpoint.verify(checkpoint.at(run / "checkpoints", newest))["format"] == FORMAT


def test_the_control_forgets_the_moments_and_does_not_come_to_these_losses(run: Path, tmp_path: Path) -> None:
    state = checkpoint.load(golden(1))
    state["optimizer"]["state"] = {}
    lost = checkpoint.save(state, tmp_path, AT)
    assert gone_on(run, lost).view.losses != pytest.approx(losses(1), rel=1e-3)


def test_the_first_format_lacks_what_its_migration_supplies() -> None:
    raw = json.loads((golden(1) / "state.json").read_text())
    state = checkpoint.load(golden(1))
    assert {"mark", "waited"}.isdisjoint(raw["best"])
    assert (state["best"]["mark"], state["best"]["waited"]) == (state["best"]["value"], 0)
    assert "schedule" not in raw
    assert state["schedule"] == {}
    assert state["counters"]["streak"] == 0
    assert state["loader"]["generators"] == []
    assert checkpoint.load_part(golden(1), "best") == state["best"]


def test_an_optimizer_from_before_changed_rates_is_taken_for_one_with_its_base_rate() -> None:
    groups = [{"lr": 0.001, "initial_lr": 0.01, "betas": (0.9, 0.99), "params": ["w"]}]
    old = {"optimizer": {"kind": "AdamW", "state": {}, "groups": groups}}
    assert migrated(old, 1)["optimizer"]["given"] == [{"lr": 0.01, "initial_lr": 0.01, "betas": (0.9, 0.99)}]


def test_migrating_is_a_pure_function_and_the_present_format_is_left_alone() -> None:
    state: dict[str, Any] = {"best": {"value": 1.0, "loss": 2.0, "step": 3}, "counters": {"step": 3}, "other": {"a": 1}}
    before = deepcopy(state)
    first, again = migrated(state, 1), migrated(state, 1)
    assert same(state, before)
    assert same(first, again)
    assert migrated(state, FORMAT) == state
    assert migrated(first, 1) == first


@pytest.mark.parametrize(
    ("version", "what"),
    [
        (FORMAT + 1, f"of format {FORMAT + 1}, which a newer version of Trainwright wrote"),
        (0, f"is of format 0; this version reads formats 1 to {FORMAT}"),
        ("two", "is of format 'two'"),
    ],
)
def test_an_unknown_format_is_refused_with_a_message(version: Any, what: str, tmp_path: Path) -> None:
    path = checkpoint.save({"counters": {"step": 1}}, tmp_path, 1)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "format": version}))
    with pytest.raises(CheckpointError, match=what):
        checkpoint.load(path)


def test_a_run_folder_of_a_newer_version_is_refused_with_a_message(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(CheckpointError, match="of format 99, which a newer version of Trainwright wrote"):
        tw.resume(run, quiet=True)


def test_what_a_run_learned_in_another_version_is_one_message(run: Path) -> None:
    learned = json.loads((run / "processor.json").read_text())
    learned.pop("$seal")  # which earlier versions did not write
    lost, _ = learned.popitem()
    (run / "processor.json").write_text(json.dumps(learned))
    for use in (lambda: tw.resume(run, quiet=True), lambda: tw.open(run).model):
        with pytest.raises(CheckpointError, match=rf"processor\.json.* it lacks '{lost}'"):
            use()
