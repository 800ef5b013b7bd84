"""Disks that are full or fail: at each call of a save, and as real small disks and limits on the size of files."""

from __future__ import annotations

import errno
import random
import resource
import shutil
import subprocess
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import trainwright as tw
from benchmarks.faults_child import WIDE, attempt, command, differences
from benchmarks.faults_kill import saves_in_place
from benchmarks.faults_process import Ended, ended
from benchmarks.faults_row import Row, paced
from benchmarks.faults_save import Act, begun, calls_of, next_save, old_first, sound
from tests.faults import Faults
from trainwright.core.errors import CannotCreateError, StorageError
from trainwright.engine import disk
from trainwright.runs.directory import CHECKPOINTS
from trainwright.runs.recipe import write

Around = Callable[[Callable[[], int]], int]  # runs a command line, perhaps sabotaged

CODES = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EDQUOT)
ROOM = 32 << 20  # bytes of the small disk


def disks(place: Path, whole: Path, dice: random.Random, points: int = 40) -> Iterator[Row]:
    """Errors at each call, a disk with a little room left, and files that must not grow."""
    recipe, wide = place / "disks.toml", place / "wide"
    write(WIDE, recipe)
    tw.train(WIDE, out=wide, quiet=True)
    yield _each_call(place)
    if mountable(place):
        yield _rooms(place, wide, recipe, dice, points)
    else:
        yield Row("a disk with a little room left", 0, 0, "not tried", 0, "needs the right to mount a disk")
    yield _limits(place, wide, recipe)
    shutil.rmtree(wide)


def _each_call(place: Path) -> Row:
    """The shim: an error at one call, or a disk that is full from that call on."""
    began = time.perf_counter()
    ends = []
    with mock.patch.object(disk, "_PIECE", 8_192):
        for size in (1, 20_000):
            for k in paced("calls that fail", range(1, calls_of(next_save, place, size) + 1)):
                ends += [_intact(next_save, place, size, Faults(k, "fail", code)) for code in CODES]
                ends.append(_intact(next_save, place, size, Faults(k, "full")))
        bad = [_intact(old_first, place, 10, Faults(k, "full")) for k in range(1, calls_of(old_first, place, 10) + 1)]
    what = "full disk, errors and refusals at each call of a save"
    control = f"old one removed first: {bad.count(False)} of {len(bad)} lost"
    return Row(what, sum(ends), len(ends), control, time.perf_counter() - began, blind=all(bad))


def _intact(act: Act, place: Path, size: int, faults: Faults) -> bool:
    """Whether a sound checkpoint is left, and no draft where the save said that it failed."""
    with begun(place, size) as folder:
        failed = False
        try:
            with faults.active():
                act(folder, size)
        except OSError:
            failed = True
        drafts = any(folder.glob(".writing-*")) and faults.what == "full"  # full does not hinder removing
        return sound(folder, size) and not (failed and drafts)


@dataclass(frozen=True, slots=True)
class Small:
    """A disk of its own, mounted, that can be filled."""

    folder: Path

    @classmethod
    @contextmanager
    def mounted(cls, folder: Path, size: int = ROOM) -> Iterator[Small]:
        """While it is there."""
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True, capture_output=True)
        try:
            yield cls(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)  # a child that is ending may be in it
            folder.rmdir()

    def leave(self, room: int) -> None:
        """Fill all but so many bytes."""
        with (self.folder / "filler").open("wb") as file:
            while (free := shutil.disk_usage(self.folder).free - room) >= 4096:
                file.write(b"x" * min(free, 1 << 20))
                file.flush()

    def clear(self) -> None:
        """There is room again."""
        (self.folder / "filler").unlink(missing_ok=True)

    def read_only(self, wanted: bool) -> None:
        """Whether it takes anything at all."""
        how = "ro" if wanted else "rw"
        subprocess.run(["mount", "-o", f"remount,{how}", self.folder], check=True, capture_output=True)


def mountable(place: Path) -> bool:
    """Whether this process may mount a disk."""
    try:
        with Small.mounted(place / "may-mount"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def _rooms(place: Path, whole: Path, recipe: Path, dice: random.Random, points: int) -> Row:
    """Train where the room runs out at any write; then there is room, and the run goes on to the same end."""
    began = time.perf_counter()
    took_up = min(ROOM, 2 * _size(whole))  # the last of these find enough
    saved = max(_size(one) for one in (whole / CHECKPOINTS).iterdir())
    within = [saved * part // 8 for part in (3, 5, 7)]  # the room ends in the middle of a save
    with Small.mounted(place / "small") as small:
        rooms = sorted([0, 8192, *within, *(dice.randrange(0, took_up) for _ in range(points - 5))])
        troubles = [_filled(small, whole, recipe, room) for room in paced("disks with a little room", rooms)]
        took = time.perf_counter() - began
        bad = [_filled(small, whole, recipe, room, _careless) for room in within]
    fine = [trouble.endswith("|") for trouble in troubles]
    lost = [trouble.endswith("|") for trouble in bad]
    control = f"saved in place: {lost.count(False)} of {len(lost)} fail"
    what = "a disk with a little room: told in one message, resumed bit for bit"
    return Row(what, sum(fine), len(fine), control, took, _codes(troubles), all(lost))


def _size(folder: Path) -> int:
    """Bytes of all files in it."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _filled(small: Small, whole: Path, recipe: Path, room: int, around: Around = lambda act: act()) -> str:
    """``how it ended|what is wrong``."""
    folder = small.folder / "run"
    small.leave(room)
    how = ended(lambda: around(command("train", str(recipe), "--out", str(folder), "--quiet")))
    small.clear()
    trouble = _told(how) or _gone_on(folder, whole, recipe)
    for left in small.folder.iterdir():
        shutil.rmtree(left)
    return f"exit code {how.code}|{trouble}"


def _limits(place: Path, whole: Path, recipe: Path) -> Row:
    """The same with a limit on the size of any file (RLIMIT_FSIZE)."""
    began = time.perf_counter()  # each file of a run is once the first that is too large
    sizes = {file.stat().st_size for file in whole.rglob("*") if file.is_file()}
    limits = sorted({0, *(max(0, size - 1) for size in sizes)})
    troubles = [_limited(place, whole, recipe, limit) for limit in paced("limits on files", limits)]
    took = time.perf_counter() - began
    some = paced("limits on careless runs", limits[::2])
    bad = [_limited(place, whole, recipe, limit, _careless) for limit in some]
    fine, lost = ([t.endswith("|") for t in found] for found in (troubles, bad))
    control = f"saved in place: {lost.count(False)} of {len(lost)} fail"
    what = "files that must not grow: told in one message, resumed bit for bit"
    return Row(what, sum(fine), len(fine), control, took, _codes(troubles), all(lost))


def _limited(place: Path, whole: Path, recipe: Path, limit: int, around: Around = lambda act: act()) -> str:
    """``how it ended|what is wrong``."""
    folder = place / "limited"

    def act() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        return around(command("train", str(recipe), "--out", str(folder), "--quiet"))

    how = ended(act)
    trouble = _told(how) or _gone_on(folder, whole, recipe)
    for left in place.glob(f"{folder.name}*"):
        shutil.rmtree(left)
    return f"exit code {how.code}|{trouble}"


def _codes(found: Sequence[str]) -> str:
    """How often each end was seen, and the first thing that went wrong."""
    codes = Counter(one.partition("|")[0] for one in found)
    wrong = [" ".join(one.split())[:300] for one in found if not one.endswith("|")]
    return "; ".join([", ".join(f"{n} x {how}" for how, n in codes.most_common(4)), *wrong[:1]])


def _told(how: Ended) -> str:
    """What is wrong with the words of a training that found no room; one that found enough says nothing."""
    told = [line for line in how.said.splitlines() if line.startswith("error: ")]
    if "Traceback" in how.said or "not expected" in how.said:
        return how.said
    if how.code == 0:
        return ""
    known = how.code in (CannotCreateError.exit_code, StorageError.exit_code)
    return "" if known and len(told) == 1 else f"{how.code}: {how.said}"


def _gone_on(folder: Path, whole: Path, recipe: Path) -> str:
    """What is different after the run went on, or was begun anew where it had not begun."""
    again = ended(lambda: attempt(folder, tomllib.loads(recipe.read_text())))
    return f"resume: {again.code}: {again.said}" if again.code else ", ".join(differences(folder, whole))


def _careless(act: Callable[[], int]) -> int:
    """The control: checkpoints are written where they stay."""
    with saves_in_place():
        return act()
