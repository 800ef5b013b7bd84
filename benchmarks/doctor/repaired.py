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
from benchmarks.doctor.judge import judged
from benchmarks.doctor.plain import run
from benchmarks.doctor.programs import Program

AS_GOOD = 0.95  # of the fixed program's metric
_TIMES = 12.0  # the time of a plain run that healing may take, with its trials and further attempts
WAYS: Mapping[str, dict[str, Any]] = {"healed": {"mode": "heal", "yes": True}, "without a word": {"mode": "heal"}}


def repaired(subject: Program, twin: Program | None, seed: int, seconds: float) -> dict[str, Any]:
    """What a program that fails reaches by itself, as its repaired twin, healed, and under each control.

    ``counts`` says whether it is a case at all: it fails, its twin learns, and ``tw.fit`` can say it.

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
    counts = plain.learned is False and fixed is not None and fixed.learned is True and not why_not(subject)
    told["counts"] = counts and not plain.cut
    if not told["counts"] or fixed is None:
        return told
    goal = AS_GOOD * fixed.train.metric
    told["ways"] = {name: _healed(subject, seed, seconds, goal, doctor) for name, doctor in WAYS.items()}
    for name, control in CONTROLS.items():
        ended, what = control(subject, seed, seconds)
        told["ways"][name] = {"metric": ended.train.metric, "repaired": ended.train.metric >= goal, "what": what}
    return told


def _healed(subject: Program, seed: int, seconds: float, goal: float, doctor: dict[str, Any]) -> dict[str, Any]:
    began, data = time.process_time(), subject.arrays()
    with TemporaryDirectory(prefix="healed-") as place:
        clock = Clock(_TIMES * seconds)
        trained, model, said = fitted(
            subject, seed, Path(place) / "run", observers=[clock], doctor=doctor, pace="plain"
        )
        told: dict[str, Any] = {"seconds": round(time.process_time() - began, 1)}
        if trained is None:
            return {**told, "metric": None, "repaired": False, "said": said[:300]}
        logits = subject.logits or trained.config["task"].get("loss") == "binary_cross_entropy"
        reached = judged(model, data.x, data.y, subject.metric, logits).metric
        ended = trained.view.ended
        told |= {"metric": reached, "repaired": reached >= goal, "verdict": ended.verdict if ended else ""}
        return told | {"what": [f"{r.state}: {r.what} [{r.rule}]" for r in trained.view.repairs]}


def shares(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each way: how many of the cases it repaired."""
    cases = [r for r in runs if r.get("counts")]
    lines = [f"{len(cases)} cases of {len(runs)} runs fail, with a twin that learns"]
    for name in (*WAYS, *CONTROLS):
        known = [r["ways"][name] for r in cases if name in r.get("ways", {})]
        lines.append(f"{name}: {sum(bool(w['repaired']) for w in known)} of {len(known)} repaired")
    return lines
