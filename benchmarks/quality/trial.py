"""One training in a process of its own, with its wall and processor time from the start of that process."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trainwright as tw
from benchmarks.quality.shows import Show

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Trial:
    """What one seed came to."""

    seed: int
    value: float
    linear: float | None  # what the linear baseline, or the one that is wanted, reaches on the same part
    wall: float  # seconds
    processor: float  # seconds of all cores
    load: float  # processes that wanted to run beside it, by the system's mean over a minute


def tried(show: Show, seed: int) -> Trial:
    """Train with a seed, once or over several changes, and read the runs; metrics are averaged, times added."""
    found = [_tried(show, {**show.changes, **more}, seed) for more in show.over]
    simple = [t.linear for t in found if t.linear is not None]
    mean = sum(simple) / len(found) if len(simple) == len(found) else None
    wall, processor = sum(t.wall for t in found), sum(t.processor for t in found)
    return Trial(seed, sum(t.value for t in found) / len(found), mean, wall, processor, os.getloadavg()[0])


def _tried(show: Show, given: Mapping[str, Any], seed: int) -> Trial:
    changes = [f"{key}={value}" for key, value in given.items()]
    with tempfile.TemporaryDirectory(prefix="quality-") as place:
        out = Path(place) / "run"
        recipe = str(ROOT / show.recipe) if (ROOT / show.recipe).exists() else show.recipe
        command = [sys.executable, "-m", "trainwright", "train", recipe, "--seed", str(seed), "--out", str(out)]
        command += [part for change in changes for part in ("--set", change)]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        run = tw.open(out)
        linear = run.baselines.get(show.simple, {}).get(show.metric.partition("/")[2])
        processor = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
        return Trial(seed, run.metrics[show.metric], linear, wall, processor, os.getloadavg()[0])
