"""Trainings killed at random, resumed until they are done, and compared with one that nobody interrupted."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.faults_child import RECIPE, attempt, differences
from benchmarks.faults_process import Child, ended
from benchmarks.faults_row import Pace, Row
from trainwright.engine import checkpoint
from trainwright.engine.packing import Snapshot
from trainwright.engine.state import Moments
from trainwright.runs.directory import CHECKPOINTS

_PER_RUN = 8  # kills
_PATIENCE = 60  # kills of a careless program that is to lose something
_AIMED = 0.4  # of the kills wait for a save to begin

Sabotage = Callable[[], Any]  # what makes a program careless, as a context


@dataclass(slots=True)
class Series:
    """Runs killed at random moments until they are done.

    Args:
        place: where the runs are made.
        whole: the run without interruption.
        dice: of the moments.
        sabotage: active in the children.
    """

    place: Path
    whole: Path
    dice: random.Random
    sabotage: Sabotage | None = None
    kills: int = 0
    resumed: int = 0  # attempts that went on in mid-run
    in_saves: int = 0  # of them, those that left a checkpoint half written
    survived: int = 0  # kills of runs that ended equal
    runs: int = 0
    lost: list[str] = field(default_factory=list)
    seconds: float = 0.0  # of an undisturbed child

    def until(self, kills: int, what: str = "kills") -> Series:
        """Kill so many times."""
        pace = Pace(what, kills)
        self.seconds = ended(lambda: attempt(self.place / "timed")).seconds
        shutil.rmtree(self.place / "timed")
        while self.kills < kills or not self.resumed or self._unlucky():
            self._one(max(1, kills - self.kills))
            pace.at(self.kills)
        return self

    def _unlucky(self) -> bool:
        """Whether a careless program has lost nothing yet, and may still be tried."""
        return self.sabotage is not None and not self.lost and self.kills < _PATIENCE

    def _one(self, most: int) -> None:
        """One run to its end, or to its loss."""
        folder, before = self.place / f"run-{self.runs}", self.kills
        self.runs += 1
        while True:
            told = self._attempt(folder, self.kills - before < min(most, _PER_RUN))
            if told is None:
                continue
            found = ["ended with " + told] if told else differences(folder, self.whole)
            break
        if found:
            self.lost.append(", ".join(found))
        else:
            self.survived += self.kills - before
        for left in self.place.glob(f"{folder.name}*"):
            shutil.rmtree(left)

    def _attempt(self, folder: Path, kill: bool) -> str | None:
        """None where it was killed; else how it failed, or nothing where it did not."""
        self.resumed += any(checkpoint.steps(folder / CHECKPOINTS)) and self._left(folder) > 0
        child = Child(lambda: self._act(folder)).start()
        if kill and not child.within(self.dice.uniform(0, self.seconds * max(0.3, self._left(folder)))):
            if self.dice.random() < _AIMED:
                in_a_save(folder / CHECKPOINTS, child)
            child.send(signal.SIGKILL)
        how = child.wait()
        if how.code == -signal.SIGKILL:
            self.kills += 1
            self.in_saves += any((folder / CHECKPOINTS).glob(".*")) if (folder / CHECKPOINTS).is_dir() else False
            return None
        return f"{how.code}: {how.said.strip().splitlines()[-1:]}" if how.code else ""

    def _left(self, folder: Path) -> float:
        """The share of the steps that is still to be done."""
        done = checkpoint.steps(folder / CHECKPOINTS)
        return 1 - (done[-1] if done else 0) / int(RECIPE["budget"].split()[0])

    def _act(self, folder: Path) -> int:
        if self.sabotage is None:
            return attempt(folder)
        with self.sabotage():
            return attempt(folder)


def in_a_save(folder: Path, child: Child) -> None:
    """Wait until something changes in the folder of checkpoints."""

    def changed() -> int:
        return folder.stat().st_mtime_ns if folder.is_dir() else 0

    before, until = changed(), time.perf_counter() + 0.5
    while changed() == before and time.perf_counter() < until and not child.within(0.0003):
        pass


def kills(place: Path, whole: Path, dice: random.Random, wanted: int, controls: int = 40) -> Iterator[Row]:
    """Random SIGKILLs survived bit for bit, beside the same with careless saves and with a forgetful resume."""
    began = time.perf_counter()
    found = Series(place, whole, dice).until(wanted)
    seconds = time.perf_counter() - began
    careless = Series(place, whole, dice, saves_in_place).until(controls, "kills of careless runs")
    forgetful = Series(place, whole, dice, forgets_moments).until(max(4, controls // 10), "kills of forgetful runs")
    told = [
        f"saved in place, unverified: {careless.kills - careless.survived} of {careless.kills} lost",
        f"moments forgotten: {forgetful.kills - forgetful.survived} of {forgetful.kills} lost",
    ]
    blind = not careless.lost or not forgetful.lost
    note = f"{found.runs} runs, saved every step; {found.in_saves} kills left a half-written checkpoint"
    worst = [f"{n} x {what}" for what, n in Counter(found.lost).most_common(3)]
    what = "random SIGKILLs, resumed bit for bit"
    yield Row(what, found.survived, found.kills, "; ".join(told), seconds, "; ".join([note, *worst]), blind)


@contextmanager
def saves_in_place() -> Iterator[None]:
    """How not to save: the old ones go first, the new one is written where it stays, and nobody verifies."""

    def write(snapshot: Snapshot, folder: Path, step: int, run: str = "") -> Path:
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            shutil.rmtree(old)
        final = folder / f"step-{step:08d}"
        final.mkdir()
        checkpoint._write(snapshot, final, step, run)
        return final

    with mock.patch.object(checkpoint, "write", write), mock.patch("os.fsync"):
        yield


@contextmanager
def forgets_moments() -> Iterator[None]:
    """How not to resume: the optimizer begins anew."""
    with mock.patch.object(Moments, "load_state_dict"):
        yield
