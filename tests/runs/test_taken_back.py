"""A run that is killed while a repair is taken back: at whatever moment, a resume keeps to one of two true stories."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainwright as tw
from trainwright.core.errors import UserError
from trainwright.core.events import Event, Probed, RunStarted, StepDone
from trainwright.runs import doctoring, healed
from trainwright.runs.decided import as_it_was

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 6)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
RECIPE: dict[str, Any] = {
    "task": {"name": "supervised", "loss": "cross_entropy"},
    "model": {"name": "mlp", "width": 16, "depth": 1},
    "optimizer": {"name": "adam", "lr": 0.02},
    "init": "zeros",  # weights that begin alike stay alike: nothing is learned
    "batch_size": 32,
    "budget": "3 epochs",
    "eval_every": "2 epochs",
    "save_every": "2 epochs",
    "score": "valid",  # no pictures are drawn
    "doctor": "heal",
}
_CALLS = ("replace", "rename", "fsync", "unlink", "rmdir")


@pytest.fixture(scope="module", autouse=True)
def overrated() -> Iterator[None]:
    """No repair can be better than what no change is said to have reached; and nothing is improved."""
    held = healed._Case._taken

    def taken(case: Any, *given: Any) -> Any:
        following = held(case, *given)
        case.record.taken[-1]["reference"] = 0.0
        return following

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(healed, "_IMPROVED", 0)
        patch.setattr(doctoring, "second_look", lambda *asked: None)  # a third of the time, and decides nothing here
        patch.setattr(healed._Case, "_taken", taken)
        yield


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(path, x=X, y=Y)
    return {**RECIPE, "data": {"source": "npz", "path": str(path), "valid": 0.2}}


@dataclass
class Photographer:
    """Copies the folder of a run before each change of the disk: what a process that is killed then leaves."""

    run: Path
    album: Path
    on: bool = False

    def look(self) -> None:
        if self.on:
            self.on = False  # what it does itself is not of interest
            shutil.copytree(self.run, self.album / self._name(), dirs_exist_ok=True)
            self.on = True

    def _name(self) -> str:
        """The same for two moments between which only drafts changed, or how much of the checkpoints is removed."""
        files = ("healing.json", "config.toml", "manifest.json", "events.jsonl")
        places = [str(any((self.run / folder).glob("**/step-*"))) for folder in ("checkpoints", "left")]
        told = [(self.run / f).read_text() for f in files]
        return f"{hash((*told, *places)) & 0xFFFFFFFF:08x}"


@pytest.fixture(scope="module")
def straight(recipe: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[tw.Run, list[Path]]:
    """The run that is not killed, and what a kill leaves from the decision to the first step behind it."""
    folder = tmp_path_factory.mktemp("straight")
    camera = Photographer(folder / "run", folder / "album")
    camera.album.mkdir()
    held = healed._Case._taken_back

    def taken_back(case: Any, view: Any, bad: bool) -> Any:
        camera.on = bool(case.record.taken) and case.ended.outcome == "finished"
        return held(case, view, bad)

    def seen(event: Event) -> None:
        camera.look()
        camera.on = camera.on and not isinstance(event, StepDone)

    def looking(name: str) -> Any:
        act = getattr(os, name)

        def acted(*given: Any, **named: Any) -> Any:
            camera.look()
            return act(*given, **named)

        return acted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(healed._Case, "_taken_back", taken_back)
        for name in _CALLS:
            patch.setattr(os, name, looking(name))
        run = tw.train(recipe, out=camera.run, observers=[seen], quiet=True)
    return run, sorted(camera.album.iterdir())


def states(run: tw.Run) -> list[str]:
    return [repair.state for repair in run.view.repairs]


def verdict(run: tw.Run) -> str:
    ended = run.view.ended
    assert ended is not None
    return ended.verdict


def test_a_run_that_is_killed_while_a_repair_is_taken_back_ends_with_it_or_without_it(
    straight: tuple[tw.Run, list[Path]],
) -> None:
    run, album = straight
    kept = 0
    assert states(run) == ["taken", "taken back"]
    for place in album:
        before = tw.open(place)
        if json.loads((place / "healing.json").read_text())["back"] is None and states(before) == ["taken"]:
            kept += 1  # nothing is decided yet
            with pytest.raises(UserError, match="is finished"):
                tw.resume(place, quiet=True)
            assert verdict(before) == "REPAIRED"
            assert before.config["init"]["name"] == "kaiming_normal"
            assert len(before.predict([{"x": x.tolist()} for x in X[:2]])) == 2
            continue
        again = tw.resume(place, quiet=True)
        assert states(again) == ["taken", "taken back"]
        assert again.view.losses == run.view.losses
        assert again.config == run.config
        assert again.config["init"]["name"] == "zeros"
        assert verdict(again) == verdict(run) == "FAILED"
    assert 1 <= kept < len(album) - 4


def test_a_repair_is_taken_back_whole_in_a_run_that_was_resumed_with_it(
    recipe: dict[str, Any], straight: tuple[tw.Run, list[Path]], tmp_path: Path
) -> None:
    attempts: list[RunStarted] = []

    def stop(event: Event) -> tw.Stop | None:
        attempts.extend([event] if isinstance(event, RunStarted) else [])
        second = len(attempts) == 2 and isinstance(event, Probed) and event.step > 10
        return tw.Stop("enough", "interrupted") if second else None

    tw.train(recipe, out=tmp_path / "run", observers=[stop], quiet=True)
    record = json.loads((tmp_path / "run/healing.json").read_text())
    record["taken"][-1]["reference"] = 0.0
    (tmp_path / "run/healing.json").write_text(json.dumps(record))
    run = tw.resume(tmp_path / "run", quiet=True)
    assert states(run) == ["taken", "taken back"]
    assert run.config["init"]["name"] == "zeros"
    assert run.view.losses == straight[0].view.losses


def test_what_a_repair_sets_is_remembered_as_it_was_and_no_secret_with_it() -> None:
    config = {"optimizer": {"name": "sgd", "lr": 3.0}, "data": {"token": "[hidden]"}, "repairs": []}
    keys = {"optimizer.lr": 0.3, "optimizer.momentum": 0.9, "data.token": "x", "repairs": [{"name": "scale"}]}
    assert as_it_was(keys, config) == {"optimizer.lr": 3.0, "optimizer.momentum": None, "repairs": []}
