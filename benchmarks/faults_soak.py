"""Ten thousand steps: what memory, open files and threads do."""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import trainwright as tw
from benchmarks.faults_child import RECIPE
from benchmarks.faults_process import ended
from benchmarks.faults_row import Pace, Row
from trainwright.core.events import Event, StepDone
from trainwright.engine import checkpoint
from trainwright.runs.directory import CHECKPOINTS

LIMIT = 1.0  # MB in 1,000 steps
WARM = 1_000  # steps until the libraries have what they keep


@dataclass(slots=True)
class Gauge:
    """An observer that reads its process's meters, every ``every`` steps once it is warm."""

    steps: int
    every: int
    at: list[int] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Read."""
        if isinstance(event, StepDone) and event.step % self.every == 0 and event.step > min(WARM, self.steps // 2):
            self.at.append(event.step)
            self.megabytes.append(
                int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
            )
            self.files.append(len(os.listdir("/proc/self/fd")))
            self.threads.append(len(os.listdir("/proc/self/task")))


def soak(place: Path, whole: Path, dice: random.Random, steps: int = 10_000) -> Iterator[Row]:
    """One long training, and a short one that leaks."""
    began = time.perf_counter()
    told = _measured(place, steps, lambda event: None)
    took = time.perf_counter() - began
    few = max(500, steps // 10)
    leak: list[bytearray] = []
    left = [os.open(os.devnull, os.O_RDONLY)]

    def leaks(event: Event) -> None:
        leak.append(bytearray(200_000))
        left.append(os.dup(left[0]))

    control = _measured(place, few, leaks)
    os.close(left[0])
    slope, files, threads = _verdict(told)
    worse, more, _ = _verdict(control)
    held = [slope < LIMIT, files == 0, threads == 0]
    said = f"a leak: {worse:+.2f} MB, {more:+d} files in {few:,} steps"
    note = f"resident memory {slope:+.3f} MB in 1,000 steps; open files {files:+d}, threads {threads:+d}"
    blind = worse < LIMIT or more == 0
    yield Row(f"{steps:,} steps: memory, files, threads stay", sum(held), len(held), said, took, note, blind)


def _measured(place: Path, steps: int, other: Callable[[Event], None]) -> Gauge:
    """The meters of a child that trains."""
    gauge = Gauge(steps, max(10, steps // 200))
    folder, file = place / "soak", place / "soak.json"
    recipe = {
        **RECIPE,
        "budget": f"{steps} steps",
        "save_every": "100 steps",
        "eval_every": "500 steps",
        "log_every": 10,
    }

    def act() -> int:
        tw.train(recipe, out=folder, observers=[gauge, other], quiet=True)
        file.write_text(json.dumps(asdict(gauge)))
        return 0

    pace = Pace("steps", steps)
    how = ended(act, lambda: pace.at(max(checkpoint.steps(folder / CHECKPOINTS), default=0)))
    if how.code:
        raise RuntimeError(how.said)
    shutil.rmtree(folder)
    return Gauge(**json.loads(file.read_text()))


def _verdict(gauge: Gauge) -> tuple[float, int, int]:
    """Megabytes in 1,000 steps by least squares, and by how much files and threads grew from first to last.

    A thread writes checkpoints now and then: the smallest counts of the first and the last quarter are compared.
    """
    slope = statistics.linear_regression(gauge.at, gauge.megabytes).slope * 1000
    quarter = max(1, len(gauge.at) // 4)
    grown = [min(x[-quarter:]) - min(x[:quarter]) for x in (gauge.files, gauge.threads)]
    return slope, grown[0], grown[1]
