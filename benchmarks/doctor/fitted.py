"""A program trained by ``tw.fit``, as its author would have called it, and its run as a record for the report."""

from __future__ import annotations

import math
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, TensorDataset

import trainwright as tw
from benchmarks.doctor.healthy import Recipe
from benchmarks.doctor.judge import judged
from benchmarks.doctor.plain import run
from benchmarks.doctor.programs import Bug, Program
from trainwright.core.errors import TrainwrightError
from trainwright.core.events import Event, Stop

REFUSED = "refused"  # the rule of what was stopped before its first step, by a message that names the mistake


def why_not(program: Program) -> str:
    """What ``tw.fit`` cannot say of a program; "" where it can say all. Its own loop must then be watched."""
    if program.bug != Bug():
        return "its bug is in a loop of its own"
    model = program.module(0)
    if isinstance(program.optimizer(model), torch.optim.LBFGS):
        return "its optimizer computes the loss several times a step"
    return "it clips the gradient of each weight by itself" if program.clip_norm else ""


def fitted(program: Program, seed: int, out: Path, **more: Any) -> tuple[tw.Run | None, nn.Module, str]:
    """Train a program by ``tw.fit``.

    Args:
        program: one that `why_not` has nothing against.
        seed: of the weights and the order.
        out: the run folder.
        more: further arguments of ``tw.fit``.

    Returns:
        The run, or None where it was refused; the module; what was said then.
    """
    data, model = program.arrays(), program.module(seed)
    rows = len(data.x)
    size = rows if program.batch_size == "all" else min(program.batch_size, rows)
    steps = math.ceil(rows / size)
    valid = None if data.x_valid is None or data.y_valid is None else (data.x_valid, data.y_valid)
    length: dict[str, Any] = {"budget": f"{program.steps} steps"} if program.steps else {"epochs": program.epochs}
    loader: Any = (data.x, data.y) if program.shuffle else DataLoader(TensorDataset(data.x, data.y), size)
    given: dict[str, Any] = {
        "valid": 0.0 if valid is None else valid,
        "loss": program.loss,
        "optimizer": program.optimizer(model),
        "batch_size": size,
        "seed": seed,
        "out": out,
        "quiet": True,
        "eval_every": f"{max(1, (program.steps or program.epochs * steps) // 20)} steps",
        "save_every": f"{max(1, (program.steps or program.epochs * steps) // 4)} steps",
        **length,
    }
    if program.schedule is not None:
        given["schedule"] = _schedule(program, steps)
    if program.clip_value:
        given["clip_value"] = program.clip_value
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return tw.fit(model, loader, **{**given, **more}), model, ""
    except TrainwrightError as error:
        return None, model, str(error)


def fit_record(program: Program, seed: int, seconds: float = 20.0, **more: Any) -> dict[str, Any]:
    """A run by ``tw.fit`` as the report reads it: outcome and findings; cut after so many seconds.

    A program that is called healthy counts as such where it also learns in a plain loop, without what ``tw.fit`` saves.
    """
    torch.set_num_threads(1)
    told: dict[str, Any] = {
        "id": program.id,
        "seed": seed,
        "status": program.status,
        "problems": list(program.problems),
        "accepted": sorted(program.accepted),
        "twins": list(program.twins),
    }
    if why_not(program):
        return {**told, **_watched(program, seed, seconds)}
    data = program.judging()
    with TemporaryDirectory(prefix="fitted-") as place:
        began, out = time.process_time(), Path(place) / "run"
        clock = Clock(seconds)
        trained, model, said = fitted(program, seed, out, observers=[clock, *more.pop("observers", [])], **more)
        outcome = judged(model, data.x, data.y, program.metric, program.logits)
        told |= {"train": outcome.metric, "baseline": outcome.baseline}
        told |= {"seconds": round(time.process_time() - began, 2), "learned": outcome.learned}
        if program.status == "healthy" and outcome.learned:
            told["learned"] = told["plainly"] = run(program, seed, seconds).learned
        return told | (read(trained) if trained else ended_early(out, said))


def _watched(program: Program, seed: int, seconds: float) -> dict[str, Any]:
    """Its own loop, with ``tw.watch`` around it."""
    open_now: list[tw.watch] = []

    def beside(model: nn.Module, optimizer: Optimizer) -> tw.watch:
        open_now.append(tw.watch(model, optimizer, loss=program.loss, quiet=True))
        return open_now[0]

    ended = run(program, seed, seconds, beside=beside)
    checkup = open_now[0].checkup
    findings = [
        {"rule": f.rule, "severity": f.severity, "step": step, "where": f.where, "what": f.what}
        for step, f in checkup.found
    ]
    told = {"train": ended.train.metric, "baseline": ended.train.baseline, "learned": ended.learned}
    return {**told, "findings": findings, "steps": ended.steps, "verdict": checkup.verdict, "loop": why_not(program)}


def recipe_record(recipe: Recipe, seed: int, seconds: float = 60.0, **more: Any) -> dict[str, Any]:
    """The same for a recipe, trained by ``tw.train``."""
    told: dict[str, Any] = {"id": recipe.id, "seed": seed, "status": recipe.status, "problems": list(recipe.problems)}
    with TemporaryDirectory(prefix="fitted-") as place:
        out = Path(place) / "run"
        try:
            trained = recipe.train(seed, out, **more)
        except TrainwrightError as error:
            return {**told, "learned": False, **ended_early(out, str(error))}
        outcome = recipe.judged(trained)
        told |= {"valid": outcome.metric, "baseline": outcome.baseline, "learned": outcome.learned}
        return told | read(trained)


def read(trained: tw.Run) -> dict[str, Any]:
    """What a run says of itself: findings with their steps, and where it ended."""
    view = trained.view
    findings = [
        {
            "rule": f.finding.rule,
            "severity": f.finding.severity,
            "step": f.step,
            "where": f.finding.where,
            "what": f.finding.what,
        }
        for f in view.findings
    ]
    return {"findings": findings, "steps": view.step, "state": trained.state}


def ended_early(out: Path, said: str) -> dict[str, Any]:
    """The same for a run that was refused or could not go on: what it said counts as a finding."""
    told = read(tw.open(out)) if (out / "events.jsonl").exists() else {"findings": [], "steps": 0, "state": "refused"}
    rows = next((rows for pattern, rows in _SAID if re.search(pattern, said)), ())
    rule = "nonfinite" if told["steps"] or 1 in rows else REFUSED
    told["findings"] += [{"rule": rule, "severity": "error", "step": told["steps"], "what": said, "rows": list(rows)}]
    return told


# What is said of a mistake -> the rows of our table that it names.
_SAID: tuple[tuple[str, tuple[int, ...]], ...] = (
    (r"shapes? must agree|has shape .* the target", (16,)),
    (r"yes or no is 0 or 1|class|label", (15, 17)),
    (r"do not depend on the model's output|cut off", (37,)),
    (r"went back|without a finite|loss was (NaN|inf)", (1,)),
    (r"not finite|NaN|infin", (2,)),
    (r"between 0 and 1|probabilit", (13, 15)),
)


class Clock:
    """Asks to stop when a run has had its seconds of the processor."""

    def __init__(self, seconds: float) -> None:
        self.end = time.process_time() + seconds

    def __call__(self, event: Event) -> Stop | None:
        return Stop("the time of the benchmark is over") if time.process_time() > self.end else None


def _schedule(program: Program, steps: int) -> Callable[..., Any]:
    """Its scheduler, or of one that is stepped once an epoch: step -> multiplier, the same through the epoch."""
    schedule = program.schedule
    assert schedule is not None
    if schedule.each == "step":
        return schedule.make
    rates = _by_epoch(schedule.make, program.epochs)
    return lambda step, whole: rates[min(step // steps, len(rates) - 1)]


def _by_epoch(make: Callable[[Optimizer], LRScheduler], epochs: int) -> list[float]:
    """The multiplier of every epoch, from a scheduler over an optimizer of one weight."""
    lone = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make(lone), list[float]()
    for _ in range(min(epochs, 10_000)):
        rates.append(float(lone.param_groups[0]["lr"]))
        lone.step()
        scheduler.step()
    return rates
