"""Signals at random moments: the step ends, all is saved, it is said how to go on; a second one harms nothing."""

from __future__ import annotations

import random
import shutil
import signal
import statistics
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import trainwright as tw
from benchmarks.faults_child import RECIPE, WIDE, attempt, command, differences, undrawn
from benchmarks.faults_kill import in_a_save, saves_in_place
from benchmarks.faults_process import Child, ended
from benchmarks.faults_row import Row, paced
from trainwright.engine import checkpoint
from trainwright.runs.directory import CHECKPOINTS, EVENTS, read_view
from trainwright.runs.recipe import write
from trainwright.runs.signals import Interruption

KINDS = {"SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM, "SIGHUP": signal.SIGHUP}

_PATIENCE = 30  # second signals to a careless program that is to lose something

STEPS = int(RECIPE["budget"].split()[0])

Around = Callable[[Callable[[], int]], int]  # runs a command line, perhaps sabotaged


@dataclass(slots=True)
class Trials:
    """Trainings that are sent signals.

    Args:
        place: where the runs are made.
        whole: the run without interruption.
        dice: of the moments.
        recipe: a file.
        pace: seconds of a step.
    """

    place: Path
    whole: Path
    dice: random.Random
    recipe: Path
    pace: float
    troubles: list[str] = field(default_factory=list)
    in_saves: int = 0
    late: int = 0  # signals that met a finished training; another one is sent for each

    def one(self, name: str, around: Around = lambda act: act()) -> bool:
        """One signal somewhere between the first step and the last."""
        folder = self.place / "signalled"
        how = self._sent(folder, KINDS[name], around).wait()
        if self._too_late(folder):
            return self.one(name, around)
        wanted = {
            f"exit code {how.code} of {name}": how.code == 128 + KINDS[name],
            "no word on how to go on": f"trainwright resume {folder}" in how.said,
            "a traceback": "Traceback" not in how.said,
            "the last step is not saved": _saved_last(folder, name),
        }
        return self._resumed(folder, [trouble for trouble, held in wanted.items() if not held])

    def two(self, name: str, around: Around = lambda act: act()) -> bool:
        """A second signal while the checkpoint that the first one asked for is being written."""
        folder = self.place / "signalled"
        child = self._sent(folder, KINDS[name], around)
        in_a_save(folder / CHECKPOINTS, child)
        child.within(self.dice.uniform(0, 0.01))
        child.send(KINDS[name])
        how = child.wait()
        if self._too_late(folder):
            return self.two(name, around)
        self.in_saves += any((folder / CHECKPOINTS).glob(".writing-*"))
        return self._resumed(folder, ["a traceback"] if "Traceback" in how.said else [])

    def _sent(self, folder: Path, number: int, around: Around) -> Child:
        """A child in training that has just been sent a signal."""
        train = command("train", str(self.recipe), "--out", str(folder))
        child = Child(lambda: around(lambda: undrawn(train))).start()
        after = self.dice.randrange(1, STEPS * 2 // 3)
        while _steps(folder) < after and not child.within(0.002):
            pass
        child.within(self.dice.uniform(0, self.pace))
        child.send(number)
        return child

    def _too_late(self, folder: Path) -> bool:
        last = read_view(folder).ended
        if last is None or last.outcome != "finished":
            return False
        self.late += 1
        shutil.rmtree(folder)
        return True

    def _resumed(self, folder: Path, troubles: list[str]) -> bool:
        """Whether nothing is wrong so far, and going on gives what nobody interrupted."""
        if not troubles:
            again = ended(lambda: attempt(folder, tomllib.loads(self.recipe.read_text())))
            troubles = [f"resume ended with {again.code}"] if again.code else differences(folder, self.whole)
        self.troubles += troubles
        for left in self.place.glob(f"{folder.name}*"):
            shutil.rmtree(left)
        return not troubles


def signals(place: Path, whole: Path, dice: random.Random, each: int = 100, double: int = 50) -> Iterator[Row]:
    """A row for each signal, and one for second signals during a save."""
    ours = _trials(place, whole, dice, RECIPE)
    for name in KINDS:
        yield _single(ours, name, each if name != "SIGHUP" else max(1, each // 5))
    wide = place / "wide"
    tw.train(WIDE, out=wide, quiet=True)
    yield _double(_trials(place, wide, dice, WIDE), double)
    shutil.rmtree(wide)


def _trials(place: Path, whole: Path, dice: random.Random, recipe: Mapping[str, Any]) -> Trials:
    file = place / f"{whole.name}.toml"
    write(recipe, file)
    return Trials(place, whole, dice, file, statistics.median(e.seconds for e in read_view(whole).steps))


def _single(ours: Trials, name: str, count: int) -> Row:
    began = time.perf_counter()
    held = [ours.one(name) for _ in paced(f"{name} sent", range(count))]
    took, note = time.perf_counter() - began, _note(ours)
    deaf = [ours.one(name, _deaf) for _ in paced(f"{name} sent to the deaf", range(max(1, count // 10)))]
    ours.troubles.clear()
    control = f"not listened to: {deaf.count(False)} of {len(deaf)} fail"
    what = f"{name}: step ended, saved, exit code {128 + KINDS[name]}, resumed bit for bit"
    return Row(what, sum(held), count, control, took, note, all(deaf))


def _double(ours: Trials, count: int) -> Row:
    began = time.perf_counter()
    names = ["SIGINT", "SIGTERM"]
    held = [ours.two(names[i % 2]) for i in paced("second signals", range(count))]
    took = time.perf_counter() - began
    note = "; ".join(filter(None, [f"{ours.in_saves} left a half-written checkpoint", _note(ours)]))
    careless: list[bool] = []
    for i in paced("second signals to the careless", range(_PATIENCE)):
        if len(careless) >= count // 3 and not all(careless):
            break
        careless.append(ours.two(names[i % 2], _careless))
    control = f"saved in place: {careless.count(False)} of {len(careless)} lost"
    what = "a second signal during a save: the last checkpoint intact, resumed bit for bit"
    return Row(what, sum(held), count, control, took, note, all(careless))


def _saved_last(folder: Path, name: str) -> bool:
    """Whether the attempt ended by this signal after a whole step, with a checkpoint of it."""
    last, there = read_view(folder).ended, checkpoint.steps(folder / CHECKPOINTS)
    return last is not None and (last.outcome, last.reason, [last.step]) == ("interrupted", name, there[-1:])


def _steps(folder: Path) -> int:
    """How many steps were told."""
    log = folder / EVENTS
    return log.read_bytes().count(b'"StepDone"') if log.is_file() else 0


def _note(trials: Trials) -> str:
    late = [f"{trials.late} came after the last step and were repeated"] if trials.late else []
    return "; ".join([*late, *(f"{n} x {what}" for what, n in Counter(trials.troubles).most_common(3))])


def _deaf(act: Callable[[], int]) -> int:
    """The control: nobody listens to signals."""
    with mock.patch.object(Interruption, "__enter__", lambda self: self):
        return act()


def _careless(act: Callable[[], int]) -> int:
    """The control: checkpoints are written where they stay."""
    with saves_in_place():
        return act()
