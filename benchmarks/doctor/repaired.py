"""Whether what fails is repaired: by ``tw.fit`` with a doctor that heals, with and without a word, and by controls."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.doctor.controls import CONTROLS
from benchmarks.doctor.fitted import Clock, fitted, why_not
from benchmarks.doctor.judge import Judged, judged
from benchmarks.doctor.plain import run
from benchmarks.doctor.programs import Program
from trainwright.core.events import StepDone, Tried
from trainwright.runs.directory import EVENTS, whole_events

AS_GOOD = 0.95  # of the fixed program's metric
_TIMES = 12.0  # the time of a plain run that healing may take, with its trials and further attempts
WAYS: Mapping[str, dict[str, Any]] = {"healed": {"mode": "heal", "yes": True}, "without a word": {"mode": "heal"}}


def repaired(subject: Program, twin: Program | None, seed: int, seconds: float) -> dict[str, Any]:
    """What a program that fails reaches by itself, as its repaired twin, healed, and under each control.

    ``counts`` says whether it is a case at all: it fails, its twin learns, ``tw.fit`` can say it, and what it needs to
    be repaired is told somewhere. All are judged on the same rows: its own training rows, or where a fault was planted
    into these, as they were before. Repaired is what learns and reaches 95 % of the twin's metric there, trained in the
    same way: ``tw.fit`` ends with the weights that validation likes best, a loop of one's own with the last ones.

    Args:
        subject: a program.
        twin: its repaired form.
        seed: of all runs.
        seconds: of the processor, the most for a plain run.
    """
    torch.set_num_threads(1)
    told: dict[str, Any] = {
        "id": subject.id,
        "seed": seed,
        "status": subject.status,
        "problems": list(subject.problems),
    }
    plain = run(subject, seed, seconds)
    told |= {"plain": plain.train.metric, "baseline": plain.train.baseline, "learned": plain.learned, "cut": plain.cut}
    fixed = run(twin, seed, seconds) if twin is not None else None
    told["twin"] = None if fixed is None else fixed.train.metric
    counts = plain.learned is False and fixed is not None and fixed.learned is True
    told["counts"] = counts and not (plain.cut or subject.lost or why_not(subject))
    if not told["counts"] or fixed is None:
        return told
    goal = AS_GOOD * fixed.train.metric
    assert twin is not None
    told["twin by tw.fit"] = sound = _sound(twin, seed)
    own = AS_GOOD * sound if sound is not None else goal
    told["ways"] = {name: _healed(subject, seed, seconds, own, doctor) for name, doctor in WAYS.items()}
    for name, control in CONTROLS.items():
        ended, what, steps = control(subject, seed, seconds)
        told["ways"][name] = {"metric": ended.train.metric, "repaired": is_repaired(ended.train, goal), "what": what}
        told["ways"][name] |= {"steps": steps}
    return told


def _sound(twin: Program, seed: int) -> float | None:
    """What the fixed program reaches by ``tw.fit``; None where that refuses it."""
    data = twin.judging()
    with TemporaryDirectory(prefix="twin-") as place:
        trained, model, _ = fitted(twin, seed, Path(place) / "run", doctor="off", pace="plain")
        return None if trained is None else judged(model, data.x, data.y, twin.metric, twin.logits).metric


def is_repaired(reached: Judged, goal: float) -> bool:
    """Where nearly all rows are of one class, 95 % of a good network may be less than guessing."""
    return reached.learned is True and reached.metric >= goal


def _healed(subject: Program, seed: int, seconds: float, goal: float, doctor: dict[str, Any]) -> dict[str, Any]:
    began, data = time.process_time(), subject.judging()
    with TemporaryDirectory(prefix="healed-") as place:
        clock = Clock(_TIMES * seconds)
        trained, model, said = fitted(
            subject, seed, Path(place) / "run", observers=[clock], doctor=doctor, pace="plain"
        )
        told: dict[str, Any] = {"seconds": round(time.process_time() - began, 1)}
        if trained is None:
            return {**told, "metric": None, "repaired": False, "said": said[:300]}
        logits = subject.logits or trained.config["task"].get("loss") == "binary_cross_entropy"
        reached = judged(model, data.x, data.y, subject.metric, logits)
        view, ended = trained.view, trained.view.ended
        tried = [t.text for t in view.tried]
        told |= {
            "metric": reached.metric,
            "repaired": is_repaired(reached, goal),
            "verdict": ended.verdict if ended else "",
        }
        told |= {"steps": _steps(trained.path / EVENTS), "tried": tried}
        return told | {"what": [f"{r.state}: {r.what} [{r.rule}]" for r in view.repairs]}


def _steps(log: Path) -> int:
    """All that were taken: by the attempts, and by each branch of each trial."""
    events = list(whole_events(log))
    taken = sum(len(e.losses) for e in events if isinstance(e, StepDone))
    return taken + sum(len(e.branches) * e.steps for e in events if isinstance(e, Tried))


def shares(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each way: how many of the cases it repaired."""
    cases = [r for r in runs if r.get("counts")]
    lines = [f"{len(cases)} cases of {len(runs)} runs fail, with a twin that learns"]
    for name in (*WAYS, *CONTROLS):
        known = [r["ways"][name] for r in cases if name in r.get("ways", {})]
        lines.append(f"{name}: {sum(bool(w['repaired']) for w in known)} of {len(known)} repaired")
    for name in CONTROLS:
        known = [r["equal steps"][name] for r in cases if "equal steps" in r]
        if known:
            told = f"{sum(bool(w['repaired']) for w in known)} of {len(known)} repaired"
            lines.append(f"{name}, with as many steps as healing took: {told}")
    return lines
