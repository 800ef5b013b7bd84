"""One writer per run: whoever comes second is told who, a killed owner is no owner, and readers take nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainwright.runs import lock
from trainwright.runs.lock import LOCK, Lock, LockedError, locked

OWNER = """
import os, sys, time
from pathlib import Path
from trainwright.runs.lock import Lock
held = Lock(Path(sys.argv[1]))
if sys.argv[2] == "alone" or not os.fork():
    print(os.getpid(), flush=True)
time.sleep(9000)
"""


def owner(folder: Path, how: str = "alone") -> tuple[subprocess.Popen[str], int]:
    made = subprocess.Popen([sys.executable, "-c", OWNER, str(folder), how], stdout=subprocess.PIPE, text=True)
    assert made.stdout is not None
    return made, int(made.stdout.readline())


@pytest.fixture(params=["open file", "flock"])
def _either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "flock":
        monkeypatch.setattr(lock, "_OPEN_FILE", False)
    elif not lock._OPEN_FILE:
        pytest.skip("this system has no locks of open files")


@pytest.mark.usefixtures("_either")
def test_a_second_writer_is_told_who_is_the_first(tmp_path: Path) -> None:
    assert not locked(tmp_path)
    held = Lock(tmp_path)
    assert locked(tmp_path)
    with pytest.raises(LockedError, match=rf"trained by process {os.getpid()} on \S+ since 20\d\d-\d\d-\d\dT") as told:
        Lock(tmp_path)
    assert told.value.exit_code == 75
    held.release()
    assert not locked(tmp_path)
    Lock(tmp_path).release()


def test_a_dead_owners_child_has_a_moment_to_close_its_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = owner(tmp_path)
    made.kill()
    made.communicate()
    answers = [False, True]
    monkeypatch.setattr(lock, "_PAUSE", 0)
    monkeypatch.setattr(lock, "_taken", lambda _: answers.pop(0))
    Lock(tmp_path).release()
    assert not answers


@pytest.mark.usefixtures("_either")
def test_readers_that_ask_all_the_time_are_never_in_a_writers_way(tmp_path: Path) -> None:
    Lock(tmp_path).release()
    ask = "import sys; from pathlib import Path; from trainwright.runs import lock\n"
    ask += f"lock._OPEN_FILE = {lock._OPEN_FILE}; print(flush=True)\nwhile True: lock.locked(Path(sys.argv[1]))"
    asking = subprocess.Popen([sys.executable, "-c", ask, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert asking.stdout is not None
        asking.stdout.readline()
        for _ in range(300):
            Lock(tmp_path).release()
    finally:
        asking.kill()
        asking.communicate()


def test_a_lock_that_may_only_be_read_can_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Lock(tmp_path)
    own = os.open

    def readonly(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY):
            raise PermissionError(13, "Permission denied")
        return own(path, flags, mode)

    monkeypatch.setattr("os.open", readonly)
    assert locked(tmp_path)
    held.release()


@pytest.mark.skipif(sys.platform == "win32", reason="has no fork")
@pytest.mark.parametrize("how", ["alone", "fork"])
def test_a_killed_owner_leaves_the_run_free_at_once_even_with_children_alive(how: str, tmp_path: Path) -> None:
    made, child = owner(tmp_path, how)
    try:
        with pytest.raises(LockedError, match=f"process {made.pid} on "):
            Lock(tmp_path)
        made.kill()
        made.wait()
        Lock(tmp_path).release()
    finally:
        if how == "fork":
            os.kill(child, signal.SIGKILL)
        made.communicate()


def test_the_name_of_a_dead_owner_is_not_told_for_the_living(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_PAUSE", 0)
    made, _ = owner(tmp_path)
    made.kill()
    made.communicate()
    old = (tmp_path / LOCK).read_bytes()
    assert f'"process": {made.pid}'.encode() in old
    held = Lock(tmp_path)
    (tmp_path / LOCK).write_bytes(old)  # the moment before the new owner signs
    with pytest.raises(LockedError, match="trained by another process"):
        Lock(tmp_path)
    held.release()
