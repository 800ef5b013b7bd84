"""A page may ask a training to save and stop, where the studio was opened so; it goes on where it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.open_studio import Visitor, opened
from tests.run_folders import training, write
from trainwright.runs.directory import read_view
from trainwright.runs.lock import LOCK, Lock
from trainwright.studio.control import stop
from trainwright.studio.files import Place, UnreadableError


def asked(visitor: Visitor, key: str) -> tuple[int, bytes]:
    answer = visitor.ask(f"/api/runs/{key}/stop", "POST", origin=f"http://{visitor.host}", x_trainwright="1")
    return answer.status, answer.body


def test_a_training_saves_and_stops_when_a_page_asks(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trainwright", "train", "iris", "--quiet", "--epochs", "100000", "--out", "run"]
    training_ = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        with opened(tmp_path, control=True) as visitor:
            until = time.monotonic() + 900
            runs: list[dict[str, object]] = []
            while time.monotonic() < until and not (runs and runs[0]["state"] == "running" and runs[0]["step"]):
                time.sleep(0.1)
                visitor.studio.shelf._looked = 0.0
                runs = visitor.ask("/api/runs").json["runs"]
            assert runs
            assert runs[0]["state"] == "running"
            status, body = asked(visitor, str(runs[0]["key"]))
            assert (status, json.loads(body)) == (200, {"told": "it finishes the step, saves and stops"})
            _, errors = training_.communicate(timeout=900)
            assert "stopping after this step" in errors
            assert visitor.ask("/api/runs").json["runs"][0]["state"] == "interrupted"
    finally:
        training_.kill()
        training_.wait()
    view = read_view(tmp_path / "run")
    assert view.ended is not None
    assert view.checkpoints[-1].step == view.step


def test_without_control_nothing_can_be_stopped(tmp_path: Path) -> None:
    write(tmp_path / "run", training())
    with opened(tmp_path) as visitor:
        assert asked(visitor, visitor.keys()["run"]) == (403, b"the studio was opened without --control")
        assert visitor.ask("/api/runs").json["control"] is False


@pytest.mark.parametrize(
    "owner", ['{"process": 1, "host": "h"}', '{"process": 4242, "host": "elsewhere"}', '{"process": "x"}', "{", ""]
)
def test_no_process_is_stopped_that_is_not_the_run_s_own_on_this_machine(owner: str, tmp_path: Path) -> None:
    run = write(tmp_path / "run", training())
    place = Place(tmp_path, ("run",))
    with pytest.raises(UnreadableError, match="not being trained"):
        stop(place)
    lock = Lock(run)
    try:
        (run / LOCK).write_text(owner)
        with pytest.raises(UnreadableError):
            stop(place)
    finally:
        lock.release()
    assert os.getpid()  # still here
