"""``train RECIPE --out DIR --resume auto`` again and again: begun, gone on with, finished; never another's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import trainwright as tw
from trainwright.cli import main
from trainwright.core.events import Event, StepDone
from trainwright.engine import checkpoint
from trainwright.runs.changed import changed, told
from trainwright.runs.lock import Lock

RECIPE: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris"},
    "model": {"name": "mlp", "width": 8, "dropout": 0.3},
    "batch_size": 16,
    "budget": "3 epochs",
}


SETTINGS = {"save_every": "1 step", "eval_every": "7 steps", "budget": "400 steps", "log_every": 1}


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.json").write_text(json.dumps(RECIPE))
    return tmp_path / "recipe.json"


def command(recipe: Path, *more: str) -> list[str]:
    return ["train", str(recipe), *more, "--out", "run", "--resume", "auto"]


def stopped(event: Event) -> tw.Stop | None:
    return tw.Stop("enough", "interrupted") if isinstance(event, StepDone) and event.step >= 10 else None


def weights(folder: str | Path) -> dict[str, Any]:
    found = checkpoint.newest(Path(folder) / "checkpoints")
    assert found is not None
    model: dict[str, Any] = found[1]["model"]
    return model


def test_a_run_is_begun_then_finished_then_left_alone(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(recipe)) == 0
    assert "run holds no run yet: it begins" in capsys.readouterr().out
    before = Path("run/events.jsonl").read_bytes()
    assert main(command(recipe)) == 0
    said = capsys.readouterr().out
    assert "run is finished after step" in said
    assert "nothing to do" in said
    assert Path("run/events.jsonl").read_bytes() == before
    assert main([*command(recipe), "--json"]) == 0
    caught = capsys.readouterr()
    assert json.loads(caught.out)["state"] == "finished"
    assert "nothing to do" in caught.err


def test_an_unfinished_run_goes_on_to_the_same_end(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tw.train(recipe, {"log_every": 1}, out="run", observers=[stopped], quiet=True)
    tw.train(recipe, {"log_every": 1}, out="whole", quiet=True)
    assert main(command(recipe, "log_every=1")) == 0
    assert "run holds an unfinished run of this recipe: it goes on" in capsys.readouterr().out
    assert [a.from_step for a in tw.open("run").view.attempts] == [0, 10]
    one, two = weights("run"), weights("whole")
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_a_run_that_has_no_checkpoint_yet_begins_anew_and_is_kept(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tw.train(recipe, out="run", observers=[stopped], quiet=True)
    for path in sorted(Path("run/checkpoints").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert main(command(recipe)) == 0
    said = capsys.readouterr().out
    assert "no checkpoint yet: it begins anew" in said
    assert "is now in run.1" in said
    assert tw.open("run").state == "finished"
    assert Path("run.1/manifest.json").is_file()


def test_what_a_kill_before_the_manifest_left_is_moved_aside(recipe: Path) -> None:
    Path("run").mkdir()
    for name in ("run.lock", "events.jsonl", "config.toml"):
        Path("run", name).touch()
    assert main(command(recipe, "--quiet")) == 0
    assert tw.open("run").state == "finished"
    assert Path("run.1/run.lock").is_file()


def test_a_folder_with_files_of_another_kind_is_not_touched(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("run").mkdir()
    Path("run/thesis.txt").write_text("mine")
    assert main(command(recipe, "--quiet")) == 2
    assert "exists and is not empty" in capsys.readouterr().err
    assert Path("run/thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["--lr", "0.5"], "optimizer.lr: 0.001 -> 0.5"),
        (["--epochs", "9"], "budget: 3 epochs -> 9 epochs"),
        (["model.width=16"], "model.width: 8 -> 16"),
        (["--seed", "4", "schedule=cosine"], "seed: 0 -> 4"),
    ],
)
def test_a_run_of_another_recipe_is_one_error(
    more: list[str], what: str, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tw.train(recipe, out="run", observers=[stopped], quiet=True)
    before = Path("run/events.jsonl").read_bytes()
    capsys.readouterr()
    assert main(command(recipe, *more)) == 2
    said = capsys.readouterr().err
    assert "holds a run of another recipe" in said
    assert what in said
    assert said.count("\n") == 1
    assert Path("run/events.jsonl").read_bytes() == before


def test_a_run_whose_settings_were_changed_since_is_known_by_its_first_and_its_latest_recipe(recipe: Path) -> None:
    tw.train(recipe, out="run", observers=[stopped], quiet=True)
    tw.resume("run", {"optimizer.lr": 0.01}, observers=[stopped], quiet=True)
    assert main(command(recipe, "--quiet", "--lr", "0.02")) == 2
    assert main(command(recipe, "--quiet", "--lr", "0.01")) == 0
    assert main(command(recipe, "--quiet")) == 0


def test_a_budget_in_time_is_the_same_budget_again(recipe: Path) -> None:
    assert main(command(recipe, "--quiet", "budget=1 second")) == 0
    assert main(command(recipe, "--quiet", "budget=1 second")) == 0
    assert main(command(recipe, "--quiet", "budget=2 seconds")) == 2


@pytest.mark.parametrize("name", ["digits", "iris"])
def test_every_default_is_the_same_recipe_again(name: str, recipe: Path) -> None:
    given = ["train", name, "budget=2 steps", "--out", "run", "--resume", "auto", "--quiet"]
    assert main(given) == 0
    assert main(given) == 0
    assert len(tw.open("run").view.attempts) == 1


def test_a_run_that_is_being_trained_is_left_to_its_process(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tw.train(recipe, out="run", observers=[stopped], quiet=True)
    lock = Lock(Path("run"))
    try:
        assert main(command(recipe, "--quiet")) == 75
    finally:
        lock.release()
    assert "is being trained by process" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (["train", "iris", "--resume", "auto"], "--out"),
        (["train", "iris", "--out", "run", "--resume", "auto", "--exist-ok"], "--exist-ok"),
        (["train", "iris", "--out", "run", "--resume", "auto", "--seeds", "2"], "--seeds"),
    ],
)
def test_what_does_not_go_together_is_told(
    given: list[str], what: str, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(given) == 2
    assert what in capsys.readouterr().err


def test_killed_again_and_again_the_same_command_comes_to_the_same_end(recipe: Path) -> None:
    more = [f"{key}={value}" for key, value in SETTINGS.items()] + ["--quiet"]
    tw.train(recipe, SETTINGS, out="whole", quiet=True)
    for kill in (1, 2):
        child = subprocess.Popen(
            [sys.executable, "-m", "trainwright", *command(recipe, *more)], env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        until = time.monotonic() + 900
        while (checkpoint.steps(Path("run/checkpoints")) or [0])[-1] < 60 * kill:
            assert child.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert main(command(recipe, *more)) == 0
    one, two = tw.open("run"), tw.open("whole")
    assert len(one.view.attempts) == 3
    assert one.view.losses == two.view.losses
    mine, theirs = weights("run"), weights("whole")
    assert all(torch.equal(mine[k], theirs[k]) for k in mine)


def test_changes_are_told_by_key_with_the_old_value_and_the_new() -> None:
    before = {"a": 1, "deep": {"x": 1, "y": [2]}, "gone": {"z": 0}, "empty": {}}
    found = changed(before, {"a": 1, "deep": {"x": 3, "y": [2]}, "new": "b"})
    assert found == {"deep.x": (1, 3), "new": (None, "b"), "gone.z": (0, None)}
    assert told(found) == "deep.x: 1 -> 3, new: none -> b, gone.z: 0 -> none"
    assert told(changed(before, before)) == ""


def test_a_resumed_run_tells_what_was_changed_and_keeps_its_lineage(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tw.train(recipe, {"log_every": 4, "save_every": "4 steps"}, out="run", observers=[stopped], quiet=True)
    assert main(["resume", "run", "--epochs", "4", "optimizer.lr=0.01", "save_every=4 steps"]) == 0
    said = capsys.readouterr().out
    assert "(exact; optimizer.lr: 0.001 -> 0.01, budget: 3 epochs -> 4 epochs)" in said.replace("\n", " ")
    first, second = tw.open("run").manifest["attempts"]
    assert first == {"from_step": 0, "began": first["began"], "doctor": first["doctor"]}
    assert second["from_step"] == tw.open("run").view.attempts[1].from_step
    assert second["resume"] == "exact"
    assert second["changed"] == {"budget": ["3 epochs", "4 epochs"], "optimizer.lr": [0.001, 0.01]}
    assert second["before"] == "config-1.toml"
    assert 'budget = "3 epochs"' in Path("run/config-1.toml").read_text()
