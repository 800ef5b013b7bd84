"""Each case as an ordinary PyTorch program: layers, a loss, an optimizer, arrays, and the facts to judge it by."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torch.optim import Optimizer

from benchmarks.doctor.case import CannotBuildError, Case, cases, twins
from benchmarks.doctor.causes import accepted
from benchmarks.doctor.layers import Built, network
from benchmarks.doctor.losses import Loss, loss_of, named
from benchmarks.doctor.optimizers import Schedule, groups_of, optimizer_of, schedule_of
from benchmarks.doctor.prepare import Arrays, arrays

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"


@dataclass(frozen=True, slots=True)
class Bug:
    """What is wrong with the loop of a program, beside its layers and numbers."""

    clears: bool = True  # gradients, before every backward
    trains: Literal["all", "last", "not first"] = "all"  # what the optimizer is given
    freezes: bool = False  # all but the last layer
    evaluates: bool = False  # the model is left in eval mode
    detaches: bool = False  # the loss is cut off from the weights


@dataclass(frozen=True, slots=True)
class Program:
    """A program as a person would write it, its data, and how its outcome is judged."""

    id: str
    status: str
    case: Case  # the facts it is built from
    module: Callable[[int], nn.Module]  # seed -> the network, initialized
    loss: Loss
    loss_name: str
    optimizer: Callable[[nn.Module], Optimizer]
    schedule: Schedule | None
    arrays: Callable[[], Arrays]  # read once
    batch_size: int | Literal["all"]
    epochs: int
    steps: int | None  # the most steps, where the case counts steps
    shuffle: bool
    clip_norm: float | None  # of each parameter's gradient
    clip_value: float | None
    bug: Bug
    metric: Literal["accuracy", "r2"]
    logits: bool  # whether a single output is a logit
    problems: tuple[str, ...]
    accepted: frozenset[int]  # rows of the table of rules, any of which is a right cause
    fixes: str
    twins: tuple[str, ...]  # ids of its repaired forms, or of what it is the repair of
    recorded: Mapping[str, object] | None  # what the file's own rerun says
    doubts: tuple[str, ...]  # what of the case was not understood or is left out
    truth: Callable[[], Arrays] | None = None  # rows as they were before somebody spoiled them, where that is known
    lost: str = ""  # why no training can bring back what was there; "" where one can

    def judging(self) -> Arrays:
        """The rows by which its outcome is judged: those that it is trained on, as they were before a fault in them."""
        return (self.truth or self.arrays)()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A case that cannot be built, and why."""

    id: str
    status: str
    reason: str


_ODD = (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError)  # what facts of an odd shape raise


def programs(folder: Path = CASES) -> tuple[list[Program], list[Skipped]]:
    """Every case of a folder as a program, and those that cannot be."""
    every = cases(folder)
    related = twins(every)
    built: list[Program] = []
    skipped: list[Skipped] = []
    for case in every:
        try:
            built.append(program(case, related.get(case.id, ())))
        except CannotBuildError as error:
            skipped.append(Skipped(case.id, case.status, str(error)))
        except _ODD as error:
            skipped.append(Skipped(case.id, case.status, f"{type(error).__name__}: {error}"))
    return built, skipped


def program(case: Case, related: Sequence[str] = ()) -> Program:
    """One case as a program.

    Raises:
        CannotBuildError: its data are not at hand, or a part of it is not known here.
    """
    told = named(str(case.facts["loss"]))
    held = lru_cache(maxsize=1)(lambda: arrays(case, told))
    _, sketch = _network(case, held())
    facts = case.facts.get("optimizer") or {}
    epochs, steps = _length(case)
    make = optimizer_of(facts, case.pytorch)
    schedule, doubt = schedule_of(facts, epochs)
    bug, unknown = _bug(case)
    doubts = (*held().doubts, *sketch.doubts, *(d for d in (doubt, unknown) if d))
    problems = tuple(str(p) for p in case.facts.get("known_problem") or ())
    return Program(
        id=case.id,
        status=case.status,
        case=case,
        module=lambda seed: _seeded(case, held(), seed, bug),
        loss=loss_of(str(case.facts["loss"]), sketch.last, held().y),
        loss_name=told.name,
        optimizer=lambda model: make(groups_of(_given(model, bug), sketch.decays)),
        schedule=schedule,
        arrays=held,
        batch_size=_batch(case),
        epochs=epochs,
        steps=steps,
        shuffle=case.facts.get("shuffle") is not False,
        clip_norm=_number(facts.get("clipnorm")),
        clip_value=_number(facts.get("clipvalue")),
        bug=bug,
        metric=_metric(case),
        logits=told.logits,
        problems=problems,
        accepted=accepted(problems),
        fixes=str(case.facts.get("known_fix") or ""),
        twins=tuple(related),
        recorded=case.facts.get("rerun"),
        doubts=doubts,
    )


def _network(case: Case, data: Arrays) -> tuple[nn.Sequential, Built]:
    return network(case.facts["layers"], data.x[:2], data.channels_first, case.pytorch)


def _seeded(case: Case, data: Arrays, seed: int, bug: Bug) -> nn.Module:
    state = torch.get_rng_state()
    try:
        torch.manual_seed(seed)
        model, _ = _network(case, data)
    finally:
        torch.set_rng_state(state)
    if bug.freezes:
        for layer in list(model)[: _last_weighty(model)]:
            layer.requires_grad_(False)
    return model


def _last_weighty(model: nn.Sequential) -> int:
    return max(i for i, layer in enumerate(model) if any(True for _ in layer.parameters()))


def _given(model: nn.Module, bug: Bug) -> nn.Module:
    """The part of the model whose parameters the optimizer is given."""
    if bug.trains == "all" or not isinstance(model, nn.Sequential):
        return model
    last = _last_weighty(model)
    return model[last:] if bug.trains == "last" else model[1:]


def _batch(case: Case) -> int | Literal["all"]:
    told = case.facts.get("batch_size", 32)
    if told is None:
        return 32
    return "all" if isinstance(told, str) and not told.isdigit() else int(told)


def _length(case: Case) -> tuple[int, int | None]:
    """Epochs, and the most steps; as the notes shorten it for a benchmark."""
    told = case.facts.get("epochs") or 1
    steps = re.search(r"(\d+) ?(?:steps|iterations|updates|batches)", str(told))
    if steps:
        return 1_000_000, int(steps.group(1))
    epochs = int(re.sub(r"\D.*", "", str(told)) or 1)
    notes = case.text("notes")
    if found := re.search(r"rows and (\d+) epochs|(\d+) epochs are enough|use (\d+) epochs", notes):
        epochs = min(epochs, int(next(n for n in found.groups() if n)))
    return max(1, epochs), None


def _metric(case: Case) -> Literal["accuracy", "r2"]:
    recorded = (case.facts.get("rerun") or {}).get("metric")
    text = str(recorded or case.text("task")).lower()
    if "r2" in text or "regression" in text or "autoenc" in text or "forecast" in text:
        return "r2"
    return "accuracy"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value else None


_BUGS: tuple[tuple[str, Bug], ...] = (
    (r"not cleared|never cleared|zero_?grad|accumulate", Bug(clears=False)),
    (r"optimi[sz]er.*(only|just).*(last|head|classifier|output)", Bug(trains="last")),
    (r"optimi[sz]er.*(not|miss|absent|without|other|old|before)", Bug(trains="not first")),
    (r"frozen|freez|requires_grad", Bug(freezes=True)),
    (r"eval(uation)? mode|\.eval\(|train mode|\.train\(", Bug(evaluates=True)),
    (r"detach|\.item\(|\.data\b|no_grad|cut off", Bug(detaches=True)),
)


def _bug(case: Case) -> tuple[Bug, str]:
    text = case.text("training_bug")
    if not text:
        return Bug(), ""
    for pattern, bug in _BUGS:
        if re.search(pattern, text):
            return bug, ""
    raise CannotBuildError(f"the bug of its loop is not understood: {text!r}")
