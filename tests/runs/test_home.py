"""The folder of a run is moved, removed or cannot be reached while it trains: said at once, and nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import trainwright as tw
from tests.faults import Faults
from tests.runs.test_begin import QUICK
from trainwright.core.errors import StorageError
from trainwright.core.events import Event, Found, StepDone, Stop
from trainwright.engine import checkpoint
from trainwright.engine.packing import pack
from trainwright.runs.home import PATIENCE, Home

PLAN = {**QUICK, "budget": "30 steps", "save_every": "5 steps", "log_every": 1}


def at(step: int, act: Callable[[], object]) -> Callable[[Event], Stop | None]:
    done: list[Event] = []

    def observe(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == step and not done:
            done.append(event)
            act()

    return observe


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tw.Run:
    return tw.train(PLAN, out=tmp_path_factory.mktemp("home") / "whole", quiet=True)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def same_end(run: tw.Run, whole: tw.Run) -> bool:
    ours, theirs = (checkpoint.load(checkpoint.at(r.path / "checkpoints", 30))["model"] for r in (run, whole))
    return all(bool((ours[k] == theirs[k]).all()) for k in theirs) and run.view.losses == whole.view.losses


@pytest.mark.parametrize("step", [11, 15])  # between two saves, and right before one
def test_a_run_whose_folder_is_moved_follows_it(
    step: int, tmp_path: Path, whole: tw.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    def move() -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "run").rename(tmp_path / "elsewhere" / "renamed")

    run = tw.train(PLAN, out=tmp_path / "run", observers=[at(step, move)])
    assert run.path == tmp_path / "elsewhere" / "renamed"
    assert run.state == "finished"
    assert same_end(run, whole)
    assert not (tmp_path / "run").exists()
    assert [e.step for e in run.view.checkpoints] == [e.step for e in whole.view.checkpoints]
    assert (run.path / "metrics.csv").read_text() == (whole.path / "metrics.csv").read_text()
    said = capsys.readouterr().out
    assert said.count("[run_folder_moved]") == 1
    assert f"the run folder was moved to {run.path}" in said


def test_a_run_whose_folder_is_removed_stops_and_is_rescued_beside_it(
    tmp_path: Path, whole: tw.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    steps: list[int] = []

    def remove() -> None:  # also where a checkpoint is written into it meanwhile
        while (tmp_path / "run").exists():
            shutil.rmtree(tmp_path / "run", ignore_errors=True)

    removed = at(12, remove)
    count = lambda event: steps.append(event.step) if isinstance(event, StepDone) else None  # noqa: E731
    with pytest.raises(StorageError, match="a whole run: resume that one") as told:
        tw.train(PLAN, out=tmp_path / "run", observers=[removed, count])
    assert told.value.exit_code == 74
    assert steps[-1] == 12, "no step is taken for nothing"
    said = capsys.readouterr().out
    assert said.count("error: the run folder was removed: nothing can be saved there") == 1
    rescued = next(tmp_path.glob("run.rescued-*"))
    assert str(rescued) in str(told.value)
    assert rescued.stat().st_mode & 0o777 == 0o700
    again = tw.resume(rescued, quiet=True)
    assert again.view.attempts[-1].from_step == 12
    assert same_end(again, whole)


def test_the_last_state_of_a_run_on_a_full_disk_is_rescued_elsewhere(
    tmp_path: Path, whole: tw.Run, temporary: Path
) -> None:
    def fill() -> None:
        (tmp_path / "run" / "checkpoints").rename(tmp_path / "kept")
        (tmp_path / "run" / "checkpoints").write_text("a file")

    with pytest.raises(
        StorageError, match=r"the checkpoint of step 30 could not be written: .*; that state is in"
    ) as told:
        tw.train(PLAN, out=tmp_path / "run", observers=[at(12, fill)], quiet=True)
    assert told.value.exit_code == 74
    again = tw.open(next(tmp_path.glob("run.rescued-*")))
    assert same_end(again, whole)


def folder_of(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.toml", "manifest.json", "processor.json", "events.jsonl"):
        (folder / name).write_text(name)
    return folder


def test_where_there_is_no_room_beside_the_run_the_temporary_files_are_taken_and_no_ruins_are_left(
    tmp_path: Path, temporary: Path
) -> None:
    home = Home(folder_of(tmp_path), lambda folder: None)
    state = pack({"counters": {"step": 7}})
    with Faults(9, "fail", errno.ENOSPC).active():
        place = home.rescue(state, 7, "x")
    assert place is not None
    assert place.parent == temporary
    assert not list(tmp_path.glob("run.rescued-*"))
    assert checkpoint.load(checkpoint.at(place / "checkpoints", 7), checkpoint.Owner("x")) == {"counters": {"step": 7}}
    assert (place / "events.jsonl").read_text() == "events.jsonl"
    with Faults(1, "full").active():
        assert home.rescue(state, 7, "x") is None
    assert not list(tmp_path.glob("run.rescued-*"))
    home.close()


def test_a_folder_that_cannot_be_found_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that is taken away for a while: its folder is not removed, and has no place."""
    folder, now, told = folder_of(tmp_path), [0.0], list[Event]()
    home = Home(folder, lambda place: None, lambda: now[0])
    monkeypatch.setattr("trainwright.runs.home._place_of", lambda handle: None)
    folder.rename(tmp_path / "away")
    assert home.watch(told.append, 3) is None
    now[0] = PATIENCE - 1
    assert home.watch(told.append, 4) is None
    assert [e.finding.rule for e in told if isinstance(e, Found)] == ["run_folder_gone"], "said once"
    (tmp_path / "away").rename(folder)
    assert home.watch(told.append, 5) is None
    (tmp_path / "run").rename(tmp_path / "away")
    now[0] = 5 * PATIENCE
    assert home.watch(told.append, 6) is None, "it was there in between"
    now[0] += PATIENCE + 1
    assert home.watch(told.append, 7) == Stop(f"the run folder is gone: {folder}", "failed")
    home.close()


def test_an_error_of_the_system_is_no_proof_that_a_folder_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(folder_of(tmp_path), lambda place: None)

    def stale(path: object) -> os.stat_result:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as network:
        network.setattr("trainwright.runs.home.os.stat", stale)
        assert home.watch(lambda event: pytest.fail(str(event)), 1) is None
    home.close()


def test_a_log_that_cannot_be_written_is_said_once_and_is_whole_in_the_end(
    tmp_path: Path, whole: tw.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own, full = os.write, [False]

    def write(handle: int, data: bytes) -> int:
        if full[0] and b'"event"' in bytes(data[:20]):
            raise OSError(errno.ENOSPC, "No space left on device")
        return own(handle, data)

    monkeypatch.setattr("trainwright.runs.recorder.os.write", write)
    turn = [at(4, lambda: full.__setitem__(0, True)), at(20, lambda: full.__setitem__(0, False))]
    run = tw.train(PLAN, out=tmp_path / "run", observers=turn)
    assert run.view.losses == whole.view.losses
    assert capsys.readouterr().out.count("what happens cannot be written down: No space left on device") == 1


@pytest.mark.ranks
@pytest.mark.parametrize("removed", [False, True])
def test_two_processes_follow_their_folder_too(removed: bool, tmp_path: Path) -> None:
    run, there = tmp_path / "run", tmp_path / "elsewhere"
    command = [sys.executable, "-m", "trainwright", "train", "iris", "ranks=2", "--epochs", "60", "--out", str(run)]
    training = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    while not list(run.glob("checkpoints/step-*")):
        assert training.poll() is None
        time.sleep(0.05)
    shutil.rmtree(run) if removed else run.rename(there)
    said, _ = training.communicate(timeout=900)
    assert "Traceback" not in said
    if removed:
        assert training.returncode == StorageError.exit_code, said
        rescued = tw.open(next(tmp_path.glob("run.rescued-*")))
        assert checkpoint.steps(rescued.path / "checkpoints") == [rescued.view.step]
    else:
        assert training.returncode == 0, said
        assert tw.open(there).state == "finished"
        assert not run.exists()
