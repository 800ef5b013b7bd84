"""Run folders as a training writes them, made of events in a moment."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from trainwright.core.events import CheckpointSaved, EvalDone, Event, RunEnded, RunStarted, StepDone, dump
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
