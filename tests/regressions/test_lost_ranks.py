"""A process of several that train together ends: the command says which and why, and never that all is well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import trainwright as tw
from trainwright.core.errors import RanksError
from trainwright.core.events import StepDone
from trainwright.engine.ranks import run_ranks

pytestmark = pytest.mark.ranks

ENDS = 'import os, sys, time; rank = os.environ["RANK"]; time.sleep(0.3 * (rank != "{first}")); {end}'


def ended(first: int, end: str) -> int:
    return run_ranks(2, [sys.executable, "-c", ENDS.format(first=first, end=end)])


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_is_named_and_gives_its_exit_code(rank: int, capfd: pytest.CaptureFixture[str]) -> None:
    code = ended(rank, f'rank == "{rank}" and os.kill(os.getpid(), 9); sys.exit({RanksError.exit_code})')
    assert code == 128 + signal.SIGKILL
    assert f"rank {rank} was ended by SIGKILL" in capfd.readouterr().err


def test_the_message_of_the_rank_that_failed_first_is_passed_on_where_the_first_only_misses_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert ended(1, f'sys.exit("the cause" if rank == "1" else {RanksError.exit_code})') == 1
    assert "rank 1 failed:\nthe cause" in capfd.readouterr().err


def test_all_ranks_that_end_well_are_no_failure(capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(0, "sys.exit(0)") == 0
    assert not capfd.readouterr().err


def trainwright(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "trainwright", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def rank_of(parent: int, rank: int) -> int:
    """The process id of a rank."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return next(int(c) for c in children if f"RANK={rank}" in Path(f"/proc/{c}/environ").read_text().split("\0"))


@pytest.mark.skipif(sys.platform != "linux", reason="finds the ranks in /proc")
def test_a_training_that_loses_a_rank_fails_with_one_message_and_can_go_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    training = trainwright("train", "iris", "ranks=2", "--epochs", "2000", "save_every='5 steps'", "--out", str(run))
    while not list(run.glob("checkpoints/step-*")):
        assert training.poll() is None
        time.sleep(0.1)
    os.kill(rank_of(training.pid, 1), signal.SIGKILL)
    _, said = training.communicate(timeout=900)
    assert training.returncode == 128 + signal.SIGKILL
    assert "rank 1 was ended by SIGKILL" in said
    assert f"trainwright resume {run}" in said
    assert "not expected" not in said
    assert not list(run.glob("error-*"))


@pytest.mark.parametrize(("code", "steps"), [(2, 5), (137, 5), (137, 10)])
def test_ranks_that_end_before_the_first_step_of_a_resume_are_a_failure_whatever_was_before(
    code: int, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(event: object) -> tw.Stop | None:
        return tw.Stop("on purpose", "interrupted") if isinstance(event, StepDone) and event.step == 5 else None

    plan = {"budget": f"{steps} steps", "log_every": 1}
    tw.train("iris", plan, out=tmp_path / "run", quiet=True, observers=[stopped])
    monkeypatch.setattr("trainwright.runs.train.run_ranks", lambda ranks, command: code)
    with pytest.raises(RanksError, match="before the first step") as failed:
        tw.resume(tmp_path / "run", {"ranks": 2}, quiet=True)
    assert failed.value.exit_code == code
