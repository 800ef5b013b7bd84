"""Ctrl-C while several processes train: all finish their step and save, and none is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import trainwright as tw
from trainwright.engine import checkpoint

pytestmark = [pytest.mark.ranks, pytest.mark.skipif(sys.platform != "linux", reason="finds the ranks in /proc")]
RECIPE = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.1, "test": 0.2},
    "model": {"name": "mlp", "width": 8, "depth": 1, "dropout": 0.0},
    "parallel": "fsdp",  # whose checkpoints both ranks write
    "batch_size": 16,
    "budget": "1000000 steps",
    "eval_every": "1000 epochs",
    "save_every": "1000 epochs",
    "doctor": "off",
    "pace": "plain",
    "score": "none",
}
OURS = [sys.executable, "-m", "trainwright", "train", "recipe.json", "--out", "run", "--processes", "2"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
THEIRS = [*TORCHRUN, "-m", "trainwright", "train", "recipe.json", "--out", "run"]


def ranks_of(launcher: int) -> list[int]:
    """The processes that a launcher started, by number; they have sessions of their own."""
    children = [c for t in Path(f"/proc/{launcher}/task").iterdir() for c in (t / "children").read_text().split()]
    return [int(c) for c in children if b"RANK=" in Path(f"/proc/{c}/environ").read_bytes()]


def at_work(process: int) -> bool:
    """Whether it is there, and not only to be asked how it ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("command", "code"), [(OURS, 130), pytest.param(THEIRS, 1, marks=pytest.mark.slow)], ids=["ours", "torchrun"]
)
def test_ctrl_c_saves_ends_all_ranks_and_says_how_to_go_on(command: list[str], code: int, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps(RECIPE))
    training = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(tw.__file__).parent.parent)},
        start_new_session=True,  # as a terminal gives a command
    )
    events = tmp_path / "run" / "events.jsonl"
    while not events.exists() or "StepDone" not in events.read_text():
        assert training.poll() is None, training.communicate()
        time.sleep(0.05)
    ranks = ranks_of(training.pid)
    assert len(ranks) == 2
    os.killpg(training.pid, signal.SIGINT)  # as a terminal sends it
    said, complained = training.communicate(timeout=900)
    assert training.returncode == code, complained
    assert "next     trainwright resume" in said
    assert command is THEIRS or "Traceback" not in complained  # torchrun tells its own end so
    assert not [rank for rank in ranks if at_work(rank)]
    run = tw.open(tmp_path / "run")
    assert (run.state, run.view.ended and run.view.ended.reason) == ("interrupted", "SIGINT")
    newest = checkpoint.newest(run.path / "checkpoints")
    assert newest is not None
    assert newest[1]["counters"]["step"] == run.view.step > 0
