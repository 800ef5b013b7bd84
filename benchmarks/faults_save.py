"""A save killed before, within and after each of its calls, and power cuts after each: what can be read afterwards."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.faults_row import Row, paced
from tests.faults import Disk, Faults, Killed
from trainwright.core.errors import CheckpointError
from trainwright.engine import checkpoint, disk

SIZES = (1, 1_000, 20_000)  # numbers in each of two tensors; the last takes many writes
PIECE = 8_192  # bytes of one write here, so that small states take several

Act = Callable[[Path, int], None]


def crashes(place: Path, dice: random.Random) -> Iterator[Row]:
    """Both rows."""
    with mock.patch.object(disk, "_PIECE", PIECE):
        yield _kills(place)
        yield _cuts(place, dice)


def _kills(place: Path) -> Row:
    began = time.perf_counter()
    calls: dict[int, int] = {}
    held, tried = 0, 0
    for size, act, how in paced("kinds of kills in a save", [*product(SIZES, SAVES, ("before", "within", "after"))]):
        calls[size] = max(calls.get(size, 0), calls_of(act, place, size))
        ends = [_killed(act, place, size, k, how) for k in range(1, calls_of(act, place, size) + 1)]
        held, tried = held + sum(ends), tried + len(ends)
    careless = [_killed(old_first, place, 10, k, "before") for k in range(1, calls_of(old_first, place, 10) + 1)]
    lost = careless.count(False)
    control = f"old one removed first: {lost} of {len(careless)} lost"
    note = f"{', '.join(map(str, calls.values()))} calls for {', '.join(map(str, SIZES))} numbers"
    what = "kills before, within and after each call of a save"
    return Row(what, held, tried, control, time.perf_counter() - began, note, not lost)


def _cuts(place: Path, dice: random.Random) -> Row:
    began = time.perf_counter()
    kinds = paced("saves cut off", [*product(SIZES, SAVES)])
    ends = [end for size, act in kinds for end in _after_cuts(act, place, size, dice)]
    seconds = time.perf_counter() - began
    with mock.patch("os.fsync"):
        careless = _after_cuts(next_save, place, 10, dice, flushed=False)
    lost = careless.count(False)
    control = f"nothing flushed: {lost} of {len(careless)} lost"
    return Row("power cuts after each call of a save", sum(ends), len(ends), control, seconds, blind=not lost)


def _killed(act: Act, place: Path, size: int, k: int, how: Any) -> bool:
    """Whether a sound checkpoint is left, and the next attempt can save and clear what is left over."""
    with begun(place, size) as folder:
        with suppress(Killed), Faults(k, how).active():
            act(folder, size)
        if not sound(folder, size):
            return False
        _saved(folder, size, 3)
        checkpoint.prune(folder, [3])
        return [p.name for p in folder.iterdir()] == ["step-00000003"]


def _after_cuts(act: Act, place: Path, size: int, dice: random.Random, flushed: bool = True) -> list[bool]:
    """For each state that a power cut may leave, whether a sound checkpoint is there."""
    with begun(place, size) as folder:
        before, after = place / "before", place / "after"
        shutil.copytree(folder, before)
        with Disk(folder).recording() as trace:
            act(folder, size)
        if not flushed:
            trace.trace = [call for call in trace.trace if call[0] != "fsync"]
        ends = []
        for kept in trace.cuts(dice):
            trace.left(kept, after, before)
            ends.append(sound(after, size))
            shutil.rmtree(after)
        shutil.rmtree(before)
    return ends


def calls_of(act: Act, place: Path, size: int) -> int:
    with begun(place, size) as folder, Faults().active() as faults:
        act(folder, size)
    return len(faults.calls)


@contextmanager
def begun(place: Path, size: int) -> Iterator[Path]:
    """A folder with one checkpoint."""
    folder = place / "crash"
    folder.mkdir()
    try:
        _saved(folder, size, 1)
        yield folder
    finally:
        shutil.rmtree(folder)


def _state(step: int, size: int) -> dict[str, Any]:
    x = torch.full((size,), float(step))
    return {"model": {"w": x}, "optimizer": {"m": x * 2}, "counters": {"step": step}}


def _saved(folder: Path, size: int, step: int) -> None:
    checkpoint.save(_state(step, size), folder, step)


def next_save(folder: Path, size: int) -> None:
    """A save as trainings do it: the new one, then the old one goes."""
    _saved(folder, size, 2)
    checkpoint.prune(folder, [2])


def _again(folder: Path, size: int) -> None:
    """The same step once more, in the place of the old one."""
    checkpoint.save(_state(2, size), folder, 1)


SAVES: tuple[Act, ...] = (next_save, _again)


def old_first(folder: Path, size: int) -> None:
    """How not to save."""
    disk.remove(folder / "step-00000001")
    _saved(folder, size, 2)


def sound(folder: Path, size: int) -> bool:
    """Whether the newest checkpoint is one of those that were saved, every number of it."""
    try:
        found = checkpoint.newest(folder)
    except CheckpointError:
        return False
    if found is None:
        return False
    state = found[1]
    wanted = _state(int(state["counters"]["step"]), size)
    same = torch.equal(state["model"]["w"], wanted["model"]["w"])
    return same and torch.equal(state["optimizer"]["m"], wanted["optimizer"]["m"])
