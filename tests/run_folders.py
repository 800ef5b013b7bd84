"""Run folders as a training writes them, made of events in a moment."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from trainwright.core.events import (
    Branch,
    CheckpointSaved,
    EvalDone,
    Event,
    Found,
    Probed,
    Repaired,
    RunEnded,
    RunStarted,
    StepDone,
    Tried,
    dump,
)
from trainwright.core.finding import Advice, Finding, Patch
from trainwright.runs.directory import CONFIG, EVENTS, MANIFEST

SECRET = "sk-4f9a81c27e5d"
NOW = "2026-11-29T20:00:00+00:00"


def steps(first: int, losses: Iterable[float], seconds: float = 0.25) -> StepDone:
    values = tuple(losses)
    last = first + len(values) - 1
    return StepDone(last, last // 10, last * 8, values, tuple(2 * v for v in values), 1e-3, seconds, 0.01)


def training(length: int = 40) -> list[Event]:
    """A run that learns, with an evaluation every ten steps, and ends."""
    events: list[Event] = [RunStarted(1, 0, length, 10, NOW)]
    for last in range(10, length + 1, 10):
        events.append(steps(last - 9, (1 / s for s in range(last - 9, last + 1))))
        events.append(EvalDone(last, last // 10, "valid", {"loss": 2 / last, "accuracy": 1 - 1 / last}, 0.1, best=True))
        events.append(CheckpointSaved(last, f"checkpoints/step-{last:08}", 0.2))
    scores = {"test/accuracy": 0.9}
    return [*events, RunEnded(length, "finished", "the budget is used up", 10.0, scores, {"linear": {"accuracy": 0.8}})]


def lines(events: Iterable[Event]) -> bytes:
    return "".join(dump(e) + "\n" for e in events).encode()


def write(folder: Path, events: Iterable[Event] = (), **manifest: object) -> Path:
    """A run folder with these events."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "format": 1, "written": NOW, "versions": {"trainwright": "0.1.0"}, "machine": {"cores": 2}, "plan": {},
        "attempts": [], "data": {"fingerprint": "f", "records": 80}, "model": {"class": "MLP", "parameters": 42},
        "monitor": {"name": "accuracy", "better": "higher"}, **manifest,
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(told))
    (folder / CONFIG).write_text(f'seed = 0\napi_key = "{SECRET}"\n[task]\nname = "tabular_classification"\n')
    (folder / EVENTS).write_bytes(lines(events))
    return folder


def findings() -> list[Event]:
    """What a doctor writes, and statistics of layers."""
    fixes = (Patch({"clip": 1.0}), Advice("Look at the batch."))
    spike = Finding("loss_spike", "error", "The loss jumped", "block.1", {"deviations": 41.0}, "It undid much.", fixes)
    layers = {f"blocks.{i}": {"gradient": 10.0**-i, "update ratio": 1e-3} for i in range(4)}
    branches = (Branch("no change", 0.9), Branch("another seed", 0.88, 0.02), Branch("clip = 1.0", 0.5, 0.02))
    trial = Tried(22, "loss_spike", 20, 10, "the next batches", branches, "clip = 1.0", "Clipping helped for sure.")
    healed = Repaired(30, "loss_spike", "The loss jumped", "clip = 1.0", {"clip": 1.0}, why="It won its trial.")
    return [*(Probed(s, layers) for s in range(10, 50, 10)), Found(20, spike), trial, healed]


def million() -> Iterator[Event]:
    """A million steps, one of which is a spike."""
    for first in range(1, 1_000_001, 10_000):
        losses = [2.0 + (step % 7) / 10 for step in range(first, first + 10_000)]
        if first == 330_001:
            losses[5] = 50.0
        yield steps(first, losses)
