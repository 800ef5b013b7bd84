"""Places where a run cannot be made or go on: one message, and an exit code that says which."""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import trainwright as tw
from benchmarks.faults_child import RECIPE, command, differences
from benchmarks.faults_disk import Small, mountable
from benchmarks.faults_process import Ended, ended
from benchmarks.faults_row import Row, paced
from trainwright.cli.told import failed
from trainwright.core.errors import CannotCreateError, StorageError
from trainwright.core.events import Event, StepDone
from trainwright.runs.directory import CHECKPOINTS
from trainwright.runs.recipe import read, write

CREATE, STORE = CannotCreateError.exit_code, StorageError.exit_code
NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Case:
    """Something that is in the way.

    Args:
        name: in words.
        code: to be ended with.
        act: makes it so in a folder of its own, told the recipe's file and a finished run, and says how it ended.
        needs: "root" or "mount", where not everybody can make it so.
    """

    name: str
    code: int
    act: Callable[[Path, Path, Path], Ended]
    needs: str = ""

    def held(self, place: Path, recipe: Path, whole: Path) -> str:
        """What is wrong with how it ended, or nothing."""
        room = place / "room"
        room.mkdir()
        room.chmod(0o755)
        try:
            how = self.act(room, recipe, whole)
        finally:
            shutil.rmtree(room)
        lines = how.said.strip().splitlines()
        told = [line for line in lines if line.startswith("error: ") and not line.endswith("]")]  # beside [findings]
        if how.code != self.code or len(told) != 1 or "Traceback" in how.said or "not expected" in how.said:
            return f"{self.name}: exit code {how.code}, {lines[-1:]}"
        return ""


def places(place: Path, whole: Path, dice: random.Random) -> Iterator[Row]:
    """Every case, and a clock that jumps backwards."""
    began = time.perf_counter()
    recipe = place / "places.toml"
    write(RECIPE, recipe)
    recipe.chmod(0o644)
    read(recipe)  # nobody may read the libraries that this imports
    able = {"": True, "root": os.geteuid() == 0, "mount": mountable(place)}
    cases = [case for case in CASES if able[case.needs]]
    troubles = [case.held(place, recipe, whole) for case in paced("places", cases)]
    took = time.perf_counter() - began
    sound = Case("nothing in the way", CREATE, lambda room, recipe, whole: _train(room / "run", recipe))
    control = bool(sound.held(place, recipe, whole))
    skipped = [f"{case.name}: not tried, needs {case.needs}" for case in CASES if not able[case.needs]]
    note = "; ".join([*filter(None, troubles), *skipped])
    said = f"nothing in the way: {int(control)} of 1 not refused"
    what = f"places that cannot be written: one message, exit code {CREATE} or {STORE}"
    yield Row(what, troubles.count(""), len(cases), said, took, note, not control)
    yield _clock(place, recipe, whole, dice)


def _train(out: Path | str, recipe: Path, around: Callable[[], object] = lambda: None) -> Ended:
    """How `trainwright train` ends there, after ``around`` in its process."""

    def act() -> int:
        around()
        return command("train", str(recipe), "--out", str(out), "--quiet")()

    return ended(act)


def _resume(run: Path, whole: Path, around: Callable[[], object] = lambda: None) -> Ended:
    """How `trainwright resume` of a copy of a finished run ends there; ``around`` comes after the copy."""
    shutil.copytree(whole, run)

    def act() -> int:
        around()
        return command("resume", str(run), "--set", "budget=70 steps", "--quiet")()

    return ended(act)


def _in_the_way(room: Path, recipe: Path, whole: Path) -> Ended:
    (room / "run").write_text("a file")
    return _train(room / "run", recipe)


def _above(room: Path, recipe: Path, whole: Path) -> Ended:
    (room / "file").write_text("a file")
    return _train(room / "file" / "run", recipe)


def _dangling(room: Path, recipe: Path, whole: Path) -> Ended:
    (room / "run").symlink_to(room / "nowhere")
    return _train(room / "run", recipe)


def _loop(room: Path, recipe: Path, whole: Path) -> Ended:
    (room / "one").symlink_to(room / "other")
    (room / "other").symlink_to(room / "one")
    return _train(room / "one" / "run", recipe)


def _read_only(room: Path, recipe: Path, whole: Path) -> Ended:
    with Small.mounted(room / "small") as small:
        small.read_only(True)
        return _train(small.folder / "run", recipe)


def _read_only_run(room: Path, recipe: Path, whole: Path) -> Ended:
    with Small.mounted(room / "small") as small:
        return _resume(small.folder / "run", whole, lambda: small.read_only(True))


def _full(room: Path, recipe: Path, whole: Path) -> Ended:
    with Small.mounted(room / "small") as small:
        small.leave(0)
        return _train(small.folder / "run", recipe)


def _fills_up(room: Path, recipe: Path, whole: Path) -> Ended:
    with Small.mounted(room / "small") as small:
        return _disturbed(small.folder / "run", recipe, lambda: small.leave(0))


def _vanishes(room: Path, recipe: Path, whole: Path) -> Ended:
    return _disturbed(room / "run", recipe, lambda: shutil.rmtree(room / "run"))


def _checkpoints_vanish(room: Path, recipe: Path, whole: Path) -> Ended:
    def replace() -> None:
        (room / "run" / CHECKPOINTS).rename(room / "elsewhere")
        (room / "run" / CHECKPOINTS).write_text("a file")

    return _disturbed(room / "run", recipe, replace)


def _disturbed(run: Path, recipe: Path, disturb: Callable[[], object]) -> Ended:
    """A training to which something happens after its tenth step."""

    def tenth(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 10:
            disturb()

    def act() -> int:
        try:
            tw.train(recipe, out=run, observers=[tenth], quiet=True)
        except Exception as error:
            return failed(error, False, run)
        return 0

    return ended(act)


def _gone(room: Path, recipe: Path, whole: Path) -> Ended:
    def around() -> None:
        (room / "here").mkdir()
        os.chdir(room / "here")
        (room / "here").rmdir()

    return _train("run", recipe, around)


def _deaf_output(room: Path, recipe: Path, whole: Path) -> Ended:
    def act() -> int:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        sys.stdout = os.fdopen(os.dup(1), "w")
        return command("explain")()

    return ended(act)


def _no_cache(room: Path, recipe: Path, whole: Path) -> Ended:
    """A cache that somebody else owns."""
    (room / "mine").mkdir()
    (room / "mine").chmod(0o777)
    return _train(room / "mine" / "run", recipe, _nobody)


def _no_permission(room: Path, recipe: Path, whole: Path) -> Ended:
    (room / "cache").mkdir()
    (room / "cache").chmod(0o777)

    def around() -> None:
        os.environ["XDG_CACHE_HOME"] = str(room / "cache")
        _nobody()

    return _train(room / "run", recipe, around)


def _nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


CASES = [
    Case("a file has the run folder's name", CREATE, _in_the_way),
    Case("a file is above it", CREATE, _above),
    Case("a link to nowhere has its name", CREATE, _dangling),
    Case("links in a circle", CREATE, _loop),
    Case("a name that is too long", CREATE, lambda room, recipe, whole: _train(room / ("x" * 300), recipe)),
    Case("where nothing can be made", CREATE, lambda room, recipe, whole: _train("/proc/run", recipe)),
    Case("the working folder is gone", CREATE, _gone),
    Case("no permission", CREATE, _no_permission, "root"),
    Case("no permission for the cache", CREATE, _no_cache, "root"),
    Case("no permission to go on", CREATE, lambda room, recipe, whole: _resume(room / "r", whole, _nobody), "root"),
    Case("a read-only disk", CREATE, _read_only, "mount"),
    Case("a run on a read-only disk", CREATE, _read_only_run, "mount"),
    Case("a full disk", CREATE, _full, "mount"),
    Case("a disk that fills up in mid-run", STORE, _fills_up, "mount"),
    Case("a run folder that is removed", STORE, _vanishes),
    Case("a folder of checkpoints that vanishes", STORE, _checkpoints_vanish),
    Case("standard output on a full disk", STORE, _deaf_output),
]


def _clock(place: Path, recipe: Path, whole: Path, dice: random.Random) -> Row:
    """The clock of the machine jumps back by up to a day, several times in a run and between two attempts."""
    began = time.perf_counter()
    tries = [_jumping(place, recipe, whole, dice) for _ in range(3)]
    control = [_jumping(place, recipe, whole, dice, seed=1) for _ in range(1)]
    said = f"another seed: {control.count(False)} of {len(control)} differ"
    what = "a clock that jumps backwards: the same bits"
    return Row(what, sum(tries), len(tries), said, time.perf_counter() - began, blind=all(control))


def _jumping(place: Path, recipe: Path, whole: Path, dice: random.Random, seed: int = 0) -> bool:
    run, own, now = place / "jumping", time.time, time.time()

    def jumps() -> float:
        nonlocal now
        now -= dice.uniform(0, 86_400) if dice.random() < 0.1 else -0.01
        return now

    def act(*arguments: str) -> int:
        with mock.patch("time.time", jumps):
            code = command(*arguments, "--quiet")()
        assert time.time is own
        return code

    half = ["--set", "budget=60 steps", "--set", f"seed={seed}"]
    once = ended(lambda: act("train", str(recipe), "--out", str(run), *half))
    try:
        return once.code == 0 and not differences(run, whole)
    finally:
        shutil.rmtree(run)
