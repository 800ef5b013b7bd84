"""A process of several is lost: all go on from the last checkpoint, and no sample is lost or doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import trainwright as tw
from trainwright.core.errors import RanksError, UserError
from trainwright.core.events import StepDone
from trainwright.engine import checkpoint
from trainwright.engine.ranks import AGAIN, Ended, launch, run_ranks

pytestmark = pytest.mark.ranks

ENDS = 'import os, sys, time; rank = os.environ["RANK"]; time.sleep(0.3 * (rank != "{first}")); {end}'
SAYS = """
import os, sys, time
from pathlib import Path
from trainwright.engine.ranks.failure import tell
said = Path(sys.argv[1])
if os.environ["RANK"] == "1":
    tell("data.path: is not there", ("data.path", "is not there", "name another"))
    said.touch()
    sys.exit(2)
while not said.exists():
    time.sleep(0.01)
tell("another process is gone")
sys.exit(71)
"""


def ended(first: int, end: str) -> Ended:
    return run_ranks(2, [sys.executable, "-c", ENDS.format(first=first, end=end)])


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_is_named_and_gives_its_exit_code(rank: int) -> None:
    found = ended(rank, f'rank == "{rank}" and os.kill(os.getpid(), 9); sys.exit({RanksError.exit_code})')
    assert found.code == 128 + signal.SIGKILL
    assert found.message.startswith(f"rank {rank} was ended by SIGKILL")
    assert found.curable


def test_what_the_rank_that_failed_first_wrote_is_told_where_the_first_only_misses_it() -> None:
    found = ended(1, f'sys.exit("the cause" if rank == "1" else {RanksError.exit_code})')
    assert (found.code, found.message, found.curable) == (1, "rank 1 failed:\nthe cause", False)


def test_a_mistake_of_a_rank_is_raised_as_what_it_is(tmp_path: Path) -> None:
    found = run_ranks(2, [sys.executable, "-c", SAYS, str(tmp_path / "said")], lost=lambda ended, times: True)
    with pytest.raises(UserError, match=r"^data\.path: is not there; name another$"):
        raise found.raised()


def test_all_ranks_that_end_well_are_no_failure() -> None:
    assert ended(0, "sys.exit(0)") == Ended()


def test_ranks_that_come_no_further_are_started_again_a_few_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_PAUSE", 0.0)
    told: list[int] = []

    def lost(ended: Ended, times: int) -> bool:
        told.append(times)
        return True

    kill = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    assert run_ranks(1, kill, lost=lost).code == 128 + signal.SIGKILL
    assert told == list(range(1, AGAIN + 1))
    told.clear()
    reached = iter([0, 5, 9, 9, 9, 9, 9])  # after the second start it comes no further
    run_ranks(1, kill, lost=lost, progress=lambda: next(reached))
    assert told == [1, 1, 2, 3]


LEDGER = """
import json, os, time
from trainwright.core.kinds import steps
from trainwright.engine.step import train_step

@steps.add("ledger")
def ledger(*, path: str):
    '''The usual step, which writes down what it saw.

    Args:
        path: folder of the ledger.
    '''
    def step(state, task, group, runtime, /, **more):
        done = train_step(state, task, group, runtime, **more)
        seen = [i for batch in group if batch.size for i in batch.ids.tolist()]
        with open(f"{path}/{runtime.ranks.rank}.jsonl", "a") as file:
            file.write(json.dumps([state.counters.step, seen]) + "\\n")
        while runtime.ranks.world > 1 and state.counters.step == 12 and not os.path.exists(f"{path}/killed"):
            time.sleep(0.01)  # however slow who is to kill it is
        return done
    return step
"""


def recipe(place: Path, budget: str) -> dict[str, object]:
    (place / "ledger.py").write_text(LEDGER)
    (place / "seen").mkdir()
    return {
        "task": "tabular_classification",
        "data": {"source": "embedded", "set": "iris", "valid": 0.1, "test": 0.2},
        "model": {"name": "mlp", "width": 8, "depth": 1},
        "plugins": [str(place / "ledger.py")],
        "step": {"name": "ledger", "path": str(place / "seen")},
        "batch_size": 16,
        "budget": budget,
        "save_every": "1 steps",
        "eval_every": "100 epochs",
        "doctor": "off",
        "pace": "plain",
        "score": "none",
    }


def seen(place: Path) -> dict[int, list[int]]:
    """Step -> the samples of all ranks, as the last attempt at that step saw them."""
    found: dict[int, list[int]] = {}
    for file in (place / "seen").glob("*.jsonl"):
        steps = dict(json.loads(line) for line in file.read_text().splitlines())
        for step, ids in steps.items():
            found[step] = [*found.get(step, []), *ids]
    return {step: sorted(ids) for step, ids in found.items()}


def rank_of(parent: int, rank: int) -> int:
    """The process id of a rank."""
    for task in Path(f"/proc/{parent}/task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                place = Path(f"/proc/{child}/environ").read_text().split("\0")
            except OSError:
                continue
            if f"RANK={rank}" in place:
                return int(child)
    raise LookupError(rank)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the ranks in /proc")
def test_a_training_that_loses_a_rank_goes_on_and_sees_every_sample_once(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "together").mkdir()
    budget = "40 steps"
    alone = tw.train(recipe(tmp_path / "alone", budget), out=tmp_path / "one", quiet=True)
    written = {**recipe(tmp_path / "together", budget), "parallel": "fsdp"}  # whose checkpoints both ranks write
    (tmp_path / "recipe.json").write_text(json.dumps(written))
    run = tmp_path / "two"
    command = [sys.executable, "-m", "trainwright", "train", str(tmp_path / "recipe.json"), "--out", str(run)]
    training = subprocess.Popen(
        [*command, "--processes", "2", "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while len(seen(tmp_path / "together")) < 10:
        assert training.poll() is None, training.communicate()
        time.sleep(0.01)
    os.kill(rank_of(training.pid, 1), signal.SIGKILL)
    (tmp_path / "together" / "seen" / "killed").touch()
    said, complained = training.communicate(timeout=900)
    assert (training.returncode, said) == (0, ""), complained
    assert "rank 1 was ended by SIGKILL" in complained
    assert "the training goes on from the checkpoint of step" in complained
    assert "Traceback" not in complained
    assert not list(run.glob("error-*"))
    after = tw.open(run)
    assert len(after.view.attempts) == 2
    assert after.state == "finished"
    assert seen(tmp_path / "together") == seen(tmp_path / "alone")
    assert after.view.losses == pytest.approx(alone.view.losses, rel=1e-4)
    assert not list(run.glob("checkpoints/.*"))
    assert len(list(run.glob("checkpoints/step-00000040/model.shard-*"))) == 2
    learned, expected = (checkpoint.load_part(p / "checkpoints" / "step-00000040", "model") for p in (run, alone.path))
    assert learned.keys() == expected.keys()
    assert all(torch.allclose(learned[name], x, rtol=1e-3, atol=1e-5) for name, x in expected.items())


@pytest.mark.parametrize(("code", "steps"), [(2, 5), (137, 5), (137, 10)])
def test_ranks_that_end_before_the_first_step_of_a_resume_are_a_failure_whatever_was_before(
    code: int, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(event: object) -> tw.Stop | None:
        return tw.Stop("on purpose", "interrupted") if isinstance(event, StepDone) and event.step == 5 else None

    plan = {"budget": f"{steps} steps", "log_every": 1, "score": "none", "doctor": "off", "pace": "plain"}
    tw.train("iris", plan, out=tmp_path / "run", quiet=True, observers=[stopped])
    monkeypatch.setattr("trainwright.runs.launching.run_ranks", lambda ranks, command, **how: Ended(code, "why"))
    with pytest.raises(RanksError, match="why; this was before the first step") as failed:
        tw.resume(tmp_path / "run", {"ranks": 2}, quiet=True)
    assert failed.value.exit_code == code
