"""Programs run with several seeds and judged by what came of them: shards that continue where they stopped."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import torch

from benchmarks.doctor.healthy import Recipe
from benchmarks.doctor.plain import Ended, run
from benchmarks.doctor.programs import Program, Skipped

SECONDS = 20.0  # the most a run may take
Subject: TypeAlias = Program | Recipe


class Records:
    """Runs in a JSON file: ``{"runs": [...], "skipped": [...]}``, whole after every run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        held = json.loads(path.read_text()) if path.exists() else {}
        self.runs: list[dict[str, Any]] = held.get("runs", [])
        self.skipped: list[dict[str, Any]] = held.get("skipped", [])

    def done(self, id: str, seed: int) -> bool:
        """Whether it is there already."""
        return any(r["id"] == id and r["seed"] == seed for r in self.runs)

    def add(self, record: dict[str, Any]) -> None:
        """Put a run in, and write."""
        self.runs.append(record)
        self.write()

    def write(self) -> None:
        """In one piece, so that a killed shard leaves a whole file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(self.path.name + ".new")
        beside.write_text(json.dumps(spelled({"runs": self.runs, "skipped": self.skipped}), indent=1) + "\n")
        os.replace(beside, self.path)


def spelled(value: Any) -> Any:
    """NaN and infinity as text: JSON has no words for them."""
    if isinstance(value, dict):
        return {key: spelled(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [spelled(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def outcomes(
    subjects: Sequence[Subject],
    skipped: Sequence[Skipped],
    seeds: Iterable[int],
    out: Path,
    *,
    runner: Callable[..., dict[str, Any]] | None = None,
    seconds: float = SECONDS,
    minutes: float = math.inf,
) -> int:
    """Run what is not yet in the file, for so many minutes.

    Args:
        subjects: what is run, each with every seed; all of them once before any of them twice.
        skipped: what could not be built; written down with the runs.
        seeds: of the runs.
        out: the file.
        runner: (subject, seed, seconds) -> what is written down; a plain run unless given.
        seconds: of the processor, the most for one run.
        minutes: of the clock; the run that is on then is finished.

    Returns:
        How many runs are left.
    """
    torch.set_num_threads(1)  # the networks are small: a second thread only waits
    records = Records(out)
    records.skipped = [{"id": s.id, "status": s.status, "reason": s.reason} for s in skipped]
    records.write()
    began = time.monotonic()
    left = [(subject, seed) for seed in seeds for subject in subjects if not records.done(subject.id, seed)]
    while left and time.monotonic() - began < 60 * minutes:
        subject, seed = left.pop(0)
        try:
            records.add((runner or plainly)(subject, seed, seconds))
        except Exception as error:  # one program that breaks must not take the shard with it
            told = {"id": subject.id, "seed": seed, "status": subject.status, "problems": list(subject.problems)}
            records.add({**told, "learned": None, "left_out": f"{type(error).__name__}: {error}"})
    return len(left)


def plainly(subject: Subject, seed: int, seconds: float = SECONDS) -> dict[str, Any]:
    """A run without a doctor, as it is written down."""
    if isinstance(subject, Program):
        return record(subject, seed, run(subject, seed, seconds))
    with TemporaryDirectory(prefix="healthy-") as place:
        began = time.process_time()
        trained = subject.train(seed, Path(place) / "run")
        told, steps = subject.judged(trained), trained.view.step
    return {
        "id": subject.id,
        "seed": seed,
        "status": subject.status,
        "problems": list(subject.problems),
        "valid": told.metric,
        "train": None,
        "baseline": told.baseline,
        "learned": told.learned,
        "steps": steps,
        "seconds": round(time.process_time() - began, 2),
    }


def record(program: Program, seed: int, ended: Ended) -> dict[str, Any]:
    """A run as it is written down."""
    return {
        "id": program.id,
        "seed": seed,
        "status": program.status,
        "problems": list(program.problems),
        "twins": list(program.twins),
        "doubts": list(program.doubts),
        "metric": program.metric,
        "train": ended.train.metric,
        "valid": None if ended.valid is None else ended.valid.metric,
        "baseline": ended.train.baseline,
        "learned": ended.learned,
        "cut": ended.cut,
        "epochs": ended.epochs,
        "steps": ended.steps,
        "seconds": round(ended.seconds, 2),
        "loss_first": ended.first_loss,
        "loss_last": ended.last_loss,
    }


def disagreements(programs: Sequence[Program], runs: Sequence[dict[str, Any]]) -> list[str]:
    """Programs of which the file's own rerun and ours say different things, in words."""
    told = []
    for program in programs:
        ours = [r["learned"] for r in runs if r["id"] == program.id]
        theirs = [r.get("learned") for r in (program.recorded or {}).get("runs", [])]  # type: ignore[attr-defined]
        if ours and theirs and _share(ours) != _share(theirs):
            told.append(f"{program.id} ({program.status}): learned {_said(ours)} here, {_said(theirs)} in the file")
    return told


def _share(learned: Sequence[bool | None]) -> float | None:
    known = [float(value) for value in learned if value is not None]
    return sum(known) / len(known) if known else None


def _said(learned: Sequence[bool | None]) -> str:
    return f"{sum(value is True for value in learned)} of {len(learned)}"
