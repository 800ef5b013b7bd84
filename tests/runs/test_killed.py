"""A run that is killed or signalled from outside saves what it has, says so, and resumes to the same end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import trainwright as tw
from tests.runs.test_train import QUICK, equal, weights
from trainwright.engine import checkpoint


def test_a_killed_run_resumes_to_the_same_end(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({**QUICK, "budget": "300 steps", "save_every": "1 step", "eval_every": "7 steps"}))
    command = [sys.executable, "-m", "trainwright", "train", str(recipe), "--out", str(tmp_path / "killed"), "--quiet"]
    child = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    folder = tmp_path / "killed" / "checkpoints"
    until = time.monotonic() + 900
    while len(checkpoint.steps(folder)) < 1 or checkpoint.steps(folder)[-1] < 20:
        assert child.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert tw.open(tmp_path / "killed").state == "interrupted"
    again = tw.resume(tmp_path / "killed", quiet=True)
    whole = tw.train(recipe, out=tmp_path / "whole", quiet=True)
    assert equal(weights(again), weights(whole))
    assert again.view.losses == whole.view.losses
    assert [e.metrics for e in again.view.evals] == [e.metrics for e in whole.view.evals]


def test_a_signal_finishes_the_step_saves_and_exits_130(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({**QUICK, "budget": "1000000 steps", "eval_every": "1000 steps", "log_every": 50}))
    command = [sys.executable, "-m", "trainwright", "train", str(recipe), "--out", str(tmp_path / "run")]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    events = tmp_path / "run" / "events.jsonl"
    until = time.monotonic() + 900
    while not events.exists() or "StepDone" not in events.read_text():
        assert child.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=900)
    assert child.returncode == 130
    assert "trainwright resume" in said
    assert "Traceback" not in said
    run = tw.open(tmp_path / "run")
    assert run.state == "interrupted"
    assert checkpoint.steps(run.path / "checkpoints")[-1] == run.view.step


def test_ranks_whose_launcher_was_killed_save_and_end(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({**QUICK, "budget": "1000000 steps", "eval_every": "1000 steps", "ranks": 2}))
    command = [sys.executable, "-m", "trainwright", "train", str(recipe), "--out", str(tmp_path / "run"), "--quiet"]
    launcher = subprocess.Popen(command)
    events = tmp_path / "run" / "events.jsonl"
    until = time.monotonic() + 900
    while not events.exists() or "StepDone" not in events.read_text():
        assert launcher.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    launcher.kill()
    launcher.wait()
    while tw.open(tmp_path / "run").state == "running":
        assert time.monotonic() < until
        time.sleep(0.2)
    run = tw.open(tmp_path / "run")
    assert run.state == "interrupted"
    assert checkpoint.steps(run.path / "checkpoints")[-1] == run.view.step
