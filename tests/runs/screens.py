"""A clock, a terminal, and the events of a run, for the tests of what is said."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from trainwright.core.events import (
    CheckpointSaved,
    EvalDone,
    Event,
    RunEnded,
    RunStarted,
    StepDone,
    dump,
)
from trainwright.runs.console import Console
from trainwright.runs.run import Run

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Screen(io.StringIO):
    """A terminal, as far as anybody asks."""

    def isatty(self) -> bool:
        return True


def attempt(folder: Path) -> Any:
    return SimpleNamespace(folder=folder)


CADENCE: Any = SimpleNamespace(steps=200, evaluate=20)


def step(n: int, loss: float = 0.5, waited: float = 0.0, skipped: int = 0) -> StepDone:
    """The ten steps up to ``n``, a tenth of a second each."""
    return StepDone(n, n // 20, n * 64, (loss,) * 10, (1.0,) * 10, 1e-3, 0.1, waited, {}, skipped)


def judged(n: int, accuracy: float, best: bool = False) -> EvalDone:
    return EvalDone(n, n // 20, "valid", {"loss": 0.4, "f1": 0.3, "accuracy": accuracy}, 0.2, best)


def events() -> Iterator[Event]:
    """A short run: ten epochs of twenty steps."""
    yield RunStarted(1, 0, 200, 20, "2026-11-20T00:00:00")
    for n in range(10, 201, 10):
        yield step(n, 2.0 / n)
        if n % 20 == 0:
            yield judged(n, n / 250, best=n <= 160)
        if n % 20 == 0:
            yield CheckpointSaved(n, f"checkpoints/step-{n:08d}", 0.1)
    yield RunEnded(
        200,
        "finished",
        "the budget is spent",
        42.0,
        {"test/loss": 0.3, "test/accuracy": 0.7},
        {"linear": {"accuracy": 0.6}},
    )


def told(folder: Path, stream: io.StringIO, seconds: float = 1.0) -> str:
    """All a console says of the run; ``seconds`` pass between two events."""
    clock = Clock()
    console = Console(stream=stream, clock=clock)
    console.start(attempt(folder), CADENCE, "accuracy", "higher")
    with (folder / "events.jsonl").open("w") as log:
        for event in events():
            clock.now += seconds
            log.write(dump(event) + "\n")
            console(event)
    console.close()
    console.end(Run(folder))
    return CODES.sub("", stream.getvalue()).replace("\r", "\n")  # a line that is drawn over is a line as well
