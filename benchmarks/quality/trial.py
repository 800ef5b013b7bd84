"""One training in a process of its own, with its wall and processor time from the start of that process."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import trainwright as tw
from benchmarks.quality.shows import Show

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Trial:
    """What one seed came to."""

    seed: int
    value: float
    linear: float | None  # what the linear baseline reaches on the same part, where there is one
    wall: float  # seconds
    processor: float  # seconds of all cores
    load: float  # processes that wanted to run beside it, by the system's mean over a minute


def tried(show: Show, seed: int) -> Trial:
    """Train with a seed, and read the run."""
    changes = [f"{key}={value}" for key, value in show.changes.items()]
    with tempfile.TemporaryDirectory(prefix="quality-") as place:
        out = Path(place) / "run"
        recipe = str(ROOT / show.recipe) if (ROOT / show.recipe).exists() else show.recipe
        command = [sys.executable, "-m", "trainwright", "train", recipe, "--seed", str(seed), "--out", str(out)]
        command += [part for change in changes for part in ("--set", change)]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        run = tw.open(out)
        linear = run.baselines.get("linear", {}).get(show.metric.partition("/")[2])
        processor = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
        return Trial(seed, run.metrics[show.metric], linear, wall, processor, os.getloadavg()[0])
