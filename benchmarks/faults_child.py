"""Trainings for forked children, and what is different in two finished runs; torch is loaded once, in the parent."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import matplotlib
import torch

import trainwright as tw
from trainwright.core.events import View
from trainwright.engine import checkpoint
from trainwright.runs.directory import CHECKPOINTS, MANIFEST, read_view

RECIPE: dict[str, Any] = {  # everything that changes while training: moments, average, schedule, order, dropout
    "name": "faults",
    "task": {"name": "tabular_classification"},
    "data": {"source": "embedded", "set": "wine", "valid": 0.2, "test": 0.2},
    "model": {"name": "mlp", "width": 32, "dropout": 0.2},
    "optimizer": {"name": "adamw", "lr": 1e-2},
    "schedule": {"name": "cosine"},
    "ema": 0.9,
    "batch_size": 16,
    "budget": "60 steps",
    "eval_every": "10 steps",
    "save_every": "1 step",
    "log_every": 1,
    "device": "cpu",
}

WIDE = {**RECIPE, "model": {**RECIPE["model"], "width": 512}, "save_every": "20 steps"}  # a save takes a while


def command(*arguments: str) -> Callable[[], int]:
    """What `trainwright ARGUMENTS` does."""

    def act() -> int:
        from trainwright.cli import main

        return main(arguments)

    return act


def attempt(folder: Path, recipe: dict[str, Any] = RECIPE) -> int:
    """Go on with the run where it has a checkpoint, else begin it anew; 0 once it is finished."""
    return undrawn(lambda: _attempt(folder, recipe))


def undrawn(act: Callable[[], int]) -> int:
    """Without the picture of the curves: it takes as long as all else, and is no part of what must survive."""
    with mock.patch("trainwright.runs.train._drawn"):
        return act()


def _attempt(folder: Path, recipe: dict[str, Any]) -> int:
    if (folder / MANIFEST).is_file() and checkpoint.steps(folder / CHECKPOINTS):
        last = read_view(folder).ended
        if last is None or last.outcome != "finished":
            tw.resume(folder, quiet=True)
        return 0
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}.unbegun-{time.monotonic_ns()}"))
    tw.train(recipe, out=folder, quiet=True)
    return 0


@contextmanager
def preloaded(base: Path | None = None) -> Iterator[tuple[Path, Path]]:
    """A folder to work in, and the run that nobody interrupted; everything a training imports is loaded after it.

    Args:
        base: where the folder is made; in memory unless given, since a killed process does not depend on the disk.
    """
    torch.set_num_threads(1)
    matplotlib.get_cachedir()  # remembered from now on: its fonts need not be gathered again
    memory = Path("/dev/shm")
    at = base or (memory if memory.is_dir() else None)
    with tempfile.TemporaryDirectory(prefix="faults-", dir=at, ignore_cleanup_errors=True) as name:
        place = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(place / "cache")
        tw.train(RECIPE, out=place / "whole", quiet=True)
        threads = len(os.listdir("/proc/self/task"))
        if threads != 1:
            raise RuntimeError(f"{threads} threads: a fork would copy one of them; set OMP_NUM_THREADS=1")
        yield place, place / "whole"


def differences(run: Path, whole: Path) -> list[str]:
    """What is not bit for bit the same in two finished runs: states, and what happened at each step."""
    ours, theirs = read_view(run), read_view(whole)
    found = _told_differently(ours, theirs)
    try:
        one, other = (_last_state(folder) for folder in (run, whole))
    except Exception as error:
        return [*found, f"{type(error).__name__}: {error}"]
    return found + [part for part in one.keys() | other.keys() if not equal(one.get(part), other.get(part))]


def equal(a: Any, b: Any) -> bool:
    """Whether two states are the same to the bit."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and (a == b or repr(a) == repr(b))  # NaN is itself here


def _last_state(folder: Path) -> dict[str, Any]:
    place = folder / CHECKPOINTS
    return checkpoint.load(checkpoint.at(place, checkpoint.steps(place)[-1]))


def _told_differently(one: View, other: View) -> list[str]:
    """Every step counts once, in order, with the same loss and norm; so does every evaluation."""
    ours, theirs = _told(one), _told(other)
    found = [name for name in ours if ours[name] != theirs[name]]
    steps = ours["steps"]
    return found + ([] if steps == sorted(set(steps)) else ["order"])


def _told(view: View) -> dict[str, Any]:
    """What the events say, without the times."""
    last = view.ended
    return {
        "steps": [e.step for e in view.steps],
        "losses": dict(view.losses),
        "norms": dict(view.norms),
        "samples": [e.samples for e in view.steps],
        "evaluations": [(e.step, dict(e.metrics), e.best) for e in view.evals],
        "end": last and (last.step, last.outcome, dict(last.scores)),
    }
