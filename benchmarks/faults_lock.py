"""Processes that race for one run: exactly one wins, the others say who, and a killed owner leaves nothing behind."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from benchmarks.faults_child import command
from benchmarks.faults_process import Child, Ended, ended
from benchmarks.faults_row import Row, paced
from trainwright.runs import lock
from trainwright.runs.lock import Lock, LockedError, locked

WON, LOST = 0, LockedError.exit_code


def locks(place: Path, whole: Path, dice: random.Random, races: int = 200, kills: int = 50) -> Iterator[Row]:
    """Races of two and of eight, commands that come too late, and killed owners."""
    folder = place / "raced"
    folder.mkdir()
    for count in (2, 8):
        yield _races(folder, count, races)
    yield _killed(folder, dice, kills)
    shutil.rmtree(folder)
    yield _commands(place, whole, max(3, races // 20))


@dataclass(slots=True)
class Shot:
    """Pipes between a referee and those who race: their start, their decision, and the end."""

    go: tuple[int, int] = field(default_factory=os.pipe)
    decided: tuple[int, int] = field(default_factory=os.pipe)
    over: tuple[int, int] = field(default_factory=os.pipe)

    def ready(self) -> None:
        """In a child: the writing ends are the referee's alone; waits for the start."""
        os.close(self.go[1])
        os.close(self.over[1])
        os.read(self.go[0], 1)

    def start(self) -> None:
        """In the referee."""
        os.close(self.go[1])

    def all_decided(self, count: int) -> None:
        """In the referee: wait until all have won or lost, or ended without a word."""
        os.close(self.decided[1])
        while count and (told := os.read(self.decided[0], count)):
            count -= len(told)

    def close(self) -> None:
        """In the referee: the winner may let go."""
        os.close(self.over[1])
        for end in (self.go[0], self.decided[0], self.over[0]):
            os.close(end)


def _races(folder: Path, count: int, races: int) -> Row:
    began = time.perf_counter()
    held = [_race(folder, count) for _ in paced(f"races of {count}", range(races))]
    took = time.perf_counter() - began
    with mock.patch.object(lock, "_taken", return_value=True):
        loose = [_race(folder, count) for _ in paced(f"races of {count} without a lock", range(max(5, races // 10)))]
    control = f"lock off: {loose.count(False)} of {len(loose)} with several winners"
    what = f"{count} processes race for a run, one wins, the others name it"
    return Row(what, sum(held), races, control, took, "a reader asks all the while", all(loose))


def _race(folder: Path, count: int) -> bool:
    """Whether exactly one of them got the lock, and all others were told which."""
    shot = Shot()
    reader = Child(lambda: _ask(folder, shot)).start()
    runners = [Child(lambda: _run(folder, shot)).start() for i in range(count)]
    shot.start()
    shot.all_decided(count)
    shot.close()
    ends: dict[int, Ended] = {runner.pid: runner.wait() for runner in runners}
    reader.wait()
    winners = [pid for pid, how in ends.items() if how.code == WON]
    if len(winners) != 1:
        return False
    name = f"trained by process {winners[0]} on {socket.gethostname()} since 20"
    return all(how.code == LOST and name in how.said for pid, how in ends.items() if pid not in winners)


def _run(folder: Path, shot: Shot) -> int:
    """One who races."""
    shot.ready()
    try:
        held = Lock(folder)
    except LockedError as error:
        print(error)
        os.write(shot.decided[1], b".")
        return LOST
    os.write(shot.decided[1], b".")
    os.read(shot.over[0], 1)
    held.release()
    return WON


def _ask(folder: Path, shot: Shot) -> int:
    """A reader, who must never be in anybody's way."""
    shot.ready()
    while not select.select([shot.over[0]], [], [], 0.0005)[0]:
        locked(folder)
    return 0


def _killed(folder: Path, dice: random.Random, kills: int) -> Row:
    """The owner is killed while a process that it started lives on, as the workers of a loader do for a while."""
    began = time.perf_counter()
    held = [_after_a_kill(folder, dice) for _ in paced("killed owners", range(kills))]
    took = time.perf_counter() - began
    with mock.patch.object(lock, "_not_in_forks"):
        kept = [_after_a_kill(folder, dice) for _ in range(max(5, kills // 10))]
    control = f"children keep their copy: {kept.count(False)} of {len(kept)} still locked"
    return Row("the owner is killed, the next one starts at once", sum(held), kills, control, took, blind=all(kept))


def _after_a_kill(folder: Path, dice: random.Random) -> bool:
    with _owner(folder, dice) as free_again:
        return free_again


@contextmanager
def _owner(folder: Path, dice: random.Random) -> Iterator[bool]:
    """Whether the lock of a killed owner can be had, its child being alive meanwhile."""
    shot = Shot()
    child = Child(lambda: _own(folder, shot)).start()
    shot.start()
    shot.all_decided(1)
    child.within(dice.uniform(0, 0.01))
    child.send(signal.SIGKILL)
    child.wait()
    try:
        with suppress(LockedError):
            Lock(folder).release()
            yield True
            return
        yield False
    finally:
        shot.close()
        orphan = int((folder / "orphan").read_text())
        with suppress(ProcessLookupError):
            there = os.pidfd_open(orphan)
            os.kill(orphan, signal.SIGKILL)
            select.select([there], [], [])  # not our child: it cannot be waited for
            os.close(there)


def _own(folder: Path, shot: Shot) -> int:
    """Hold the lock, and have a child."""
    shot.ready()
    held = Lock(folder)
    orphan = os.fork()
    if orphan == 0:
        time.sleep(60)
        os._exit(0)
    (folder / "orphan").write_text(str(orphan))
    os.write(shot.decided[1], b".")
    os.read(shot.over[0], 1)
    held.release()
    return WON


def _commands(place: Path, whole: Path, tries: int) -> Row:
    """`trainwright resume` of a run that this process trains: exit code 75 and one line with the owner's name."""
    began = time.perf_counter()
    folder = place / "owned"
    shutil.copytree(whole, folder)
    held = Lock(folder)
    told = [_refused(folder) for _ in paced("commands that come too late", range(tries))]
    held.release()
    freed = [_refused(folder) for _ in range(3)]
    shutil.rmtree(folder)
    control = f"nobody trains it: {freed.count(False)} of {len(freed)} not refused"
    what = "resume of a run in training: exit code 75, and who trains it"
    return Row(what, sum(told), tries, control, time.perf_counter() - began, blind=any(freed))


def _refused(folder: Path) -> bool:
    how = ended(command("resume", str(folder), "--epochs", "20", "--quiet"))
    said = f"error: {folder}: is being trained by process {os.getpid()} on {socket.gethostname()} since 20"
    return how.code == LOST and how.said.startswith(said) and how.said.count("\n") == 1
