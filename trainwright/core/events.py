"""What happened: the only thing that leaves the training loop; and one fold that gives all readers the same view."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import takewhile
from typing import Any, TypeAlias

from pydantic import ConfigDict, TypeAdapter, with_config

from trainwright.core.exhibit import Exhibit
from trainwright.core.facts import Facts
from trainwright.core.finding import Finding
from trainwright.core.lasting import T, still_told

_numbers = ConfigDict(ser_json_inf_nan="strings")


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class RunStarted:
    """An attempt begins. What earlier attempts logged after ``from_step`` no longer counts."""

    attempt: int  # from 1
    from_step: int  # the first step is the next one
    steps: int  # of the whole budget
    steps_per_epoch: int  # optimizer steps
    time: str  # ISO 8601, UTC
    note: str = ""  # why it resumed, what changed
    anew: bool = False  # it goes on with nothing: not even what was logged before the first step counts
    back: int = 0  # the attempt that it goes on with, where that is not the one before it
    again: bool = False  # it takes steps again that were taken wrongly: what was found in them is still told


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Examined:
    """What was measured of data, model, loss and optimizer before an attempt's first step."""

    step: int  # optimizer steps taken before it
    facts: Facts  # what it was


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class StepDone:
    """The optimizer steps since the last wait for the device. Seconds are averages per step."""

    step: int  # the last of them; the first is step - len(losses) + 1
    epoch: int  # complete ones
    samples: int  # seen since the run began
    losses: tuple[float, ...]  # mean loss of each step
    norms: tuple[float, ...]  # gradient norm of each step, before clipping
    lr: float  # of the first parameter group, at the last step
    seconds: float  # per step
    waited: float  # of these, seconds the loop stood waiting for data
    parts: Mapping[str, float] = field(default_factory=dict)  # summands of the last step's loss
    skipped: int = 0  # steps not taken because loss or gradient was not finite
    memory: int = 0  # bytes: of tensors on an accelerator, of the process on a CPU; 0 is unknown


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class StepSkipped:
    """A step that was not taken, because its loss or gradient was not finite: no weight, moment or buffer knows it."""

    step: int  # its number
    what: str  # "the loss was NaN"
    loss: float  # mean of the batch
    norm: float  # of the gradient
    samples: int  # of the batch
    records: tuple[int, ...]  # their ids, the first 1,000
    suspects: tuple[int, ...] = ()  # of these, the ones whose own numbers are not finite
    places: tuple[str, ...] = ()  # of the suspects in the data, else of the first records; a few
    incident: str = ""  # folder with all that is needed to take the step again, relative to the run


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class EvalDone:
    """An evaluation of one part of the data."""

    step: int  # optimizer steps taken before it
    epoch: int  # complete ones
    part: str  # "valid", "test", "train"
    metrics: Mapping[str, float]  # "loss" and the task's own
    seconds: float  # it took
    best: bool = False  # the monitor is the best so far


@dataclass(frozen=True, slots=True)
class Shown:
    """What the network said about a few samples."""

    step: int  # optimizer steps taken before it
    part: str  # of the data they come from
    exhibits: tuple[Exhibit, ...]  # what to look at


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """A checkpoint is durable."""

    step: int  # optimizer steps it holds
    path: str  # relative to the run
    seconds: float  # it took


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Probed:
    """Statistics of the layers, measured between two steps."""

    step: int  # optimizer steps taken before it
    statistics: Mapping[str, Mapping[str, float]]  # of each layer, by name


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Found:
    """Something is wrong, or may be."""

    step: int  # optimizer steps taken before it
    finding: Finding  # what, where, with which numbers


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Branch:
    """What came of one way to go on."""

    what: str  # "no change", "another seed", or what was changed
    loss: float  # on the samples that judge; infinite where it broke down
    error: float = 0.0  # standard error of its difference to no change, over these samples
    trouble: str = ""  # why it could not be tried to its end


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Tried:
    """Branches from one state on the same batches: no change, another seed, and the fixes of a finding."""

    step: int  # optimizer steps taken before it
    rule: str  # that found what the fixes are for
    start: int  # the step from which the branches went on
    steps: int  # that each took
    judge: str  # what was compared, in words
    branches: tuple[Branch, ...]  # no change, another seed, and each fix
    won: str = ""  # which of them; "" where none was better for sure
    text: str = ""  # all that, in a sentence
    cause: str = ""  # the rule of the cause by the trial, where another was named or none


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Repaired:
    """A fix that was taken, offered or taken back."""

    step: int  # from which the training goes on with it
    rule: str  # that found what it is for
    trouble: str  # what that is, in words
    what: str  # the change, in words
    keys: Mapping[str, Any] = field(default_factory=dict)  # of the recipe, dotted -> value
    state: str = "taken"  # "taken" | "offered" | "taken back"
    why: str = ""  # in words


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Difference:
    """How far two scores on the same records lie apart, and the 95 % interval of that."""

    value: float  # the run's score minus the other's
    low: float
    high: float


Interval: TypeAlias = tuple[float, float]  # 95 %


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class RunEnded:
    """The attempt is over."""

    step: int  # optimizer steps taken in all
    outcome: str  # "finished" | "stopped" | "interrupted" | "failed"; "healing" where another attempt follows
    reason: str  # in words
    seconds: float  # of this attempt
    scores: Mapping[str, float] = field(default_factory=dict)  # "test/accuracy": 0.97
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # "linear": {"accuracy": 0.91}
    intervals: Mapping[str, Interval] = field(default_factory=dict)  # of the scores, by bootstrap
    baseline_intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)  # of theirs
    differences: Mapping[str, Mapping[str, Difference]] = field(default_factory=dict)  # to each baseline
    skipped: Mapping[str, str] = field(default_factory=dict)  # baselines that were not fitted, and why
    verdict: str = ""  # of the doctor: "HEALTHY" | "REPAIRED" | "SUSPECT" | "FAILED"; "" where nobody asked it
    doctor: Mapping[str, float] = field(default_factory=dict)  # "share" of the time, "seconds", "probes", "before" 1


Event: TypeAlias = (
    RunStarted
    | Examined
    | StepDone
    | StepSkipped
    | EvalDone
    | Shown
    | CheckpointSaved
    | Probed
    | Found
    | Tried
    | Repaired
    | RunEnded
)
_BEFORE_THE_END = (RunStarted, Examined, StepDone, StepSkipped, EvalDone, Shown, CheckpointSaved, Probed, Found)
EVENTS: Mapping[str, type[Any]] = {k.__name__: k for k in (*_BEFORE_THE_END, Tried, Repaired, RunEnded)}


@dataclass(frozen=True, slots=True)
class Stop:
    """The one thing an observer may ask for."""

    reason: str  # told to the person
    outcome: str = "stopped"  # of the run


Observer: TypeAlias = Callable[[Event], Stop | None]


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(EVENTS[name])


def dump(event: Event) -> str:
    """One line of JSON; NaN and infinity as strings."""
    body = _adapter(type(event).__name__).dump_json(event).decode()
    name = f'{{"event":"{type(event).__name__}"'
    return name + ("," + body[1:] if body != "{}" else "}")


def load(line: str) -> Event:
    """The inverse of `dump`."""
    fields = json.loads(line)
    event: Event = _adapter(fields.pop("event")).validate_python(fields)
    return event


@dataclass(slots=True)
class View:
    """A run as its events tell it: what a console, a plot, the studio and the doctor read."""

    attempts: list[RunStarted] = field(default_factory=list)
    examined: Examined | None = None  # the latest
    losses: dict[int, float] = field(default_factory=dict)  # step -> mean loss
    norms: dict[int, float] = field(default_factory=dict)
    steps: list[StepDone] = field(default_factory=list)
    skipped: list[StepSkipped] = field(default_factory=list)
    evals: list[EvalDone] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    probed: list[Probed] = field(default_factory=list)
    checkpoints: list[CheckpointSaved] = field(default_factory=list)
    findings: list[Found] = field(default_factory=list)
    passed: int = 0  # of the findings, the first ones, which no interruption takes away
    went_back: int = -1  # to which step it last went back by itself; -1 where it did not, or that counts no more
    tried: list[Tried] = field(default_factory=list)  # of all attempts
    repairs: list[Repaired] = field(default_factory=list)  # likewise
    left: dict[int, dict[str, Any]] = field(default_factory=dict)  # attempt -> what it had when another began anew
    ended: RunEnded | None = None
    unreadable: int = 0  # lines of the log, beside those that a crash tore

    @property
    def step(self) -> int:
        """The last step that counts."""
        return max(self.losses, default=self.attempts[-1].from_step if self.attempts else 0)

    def history(self, after: int = -1) -> list[dict[str, Any]]:
        """One row per evaluation step: ``{"step", "epoch", "train/loss", "valid/loss", "valid/accuracy", …}``.

        ``train/loss`` is the mean over the steps since the previous row, those that were not taken left out; the parts
        of the loss and the penalties, such as ``train/l2``, are those of the last step.

        Args:
            after: only rows of later steps; itself the step of a row.
        """
        rows: dict[int, dict[str, Any]] = {}
        for e in reversed(list(takewhile(lambda e: e.step > after, reversed(self.evals)))):
            row = rows.setdefault(e.step, {"step": e.step, "epoch": e.epoch})
            row.update({f"{e.part}/{k}": v for k, v in e.metrics.items()})
        untaken = {e.step for e in self.skipped}
        since = list(takewhile(lambda loss: loss[0] > after, reversed(self.losses.items())))
        for step in sorted(rows):
            seen: list[float] = []
            while since and since[-1][0] <= step:
                number, loss = since.pop()
                seen += [] if number in untaken else [loss]
            if seen:
                rows[step]["train/loss"] = sum(seen) / len(seen)
        for done in takewhile(lambda done: done.step > after, reversed(self.steps)):
            if done.step in rows:
                rows[done.step].update({f"train/{k}": v for k, v in done.parts.items()})
        return [rows[s] for s in sorted(rows)]


def fold(events: Iterable[Event]) -> View:
    """Events of all attempts, in the order they were logged, as one view."""
    view = View()
    for event in events:
        advance(view, event)
    return view


def advance(view: View, event: Event) -> None:
    """One more event into the view."""
    match event:
        case RunStarted():
            _begin(view, event)
            view.ended = None
        case Examined():
            view.examined = event
        case StepDone():
            first = event.step - len(event.losses) + 1
            view.losses.update(zip(range(first, event.step + 1), event.losses, strict=True))
            view.norms.update(zip(range(first, event.step + 1), event.norms, strict=False))
            view.steps.append(event)
        case StepSkipped():
            view.skipped.append(event)
        case EvalDone():
            view.evals.append(event)
        case Shown():
            view.shown.append(event)
        case Probed():
            view.probed.append(event)
        case CheckpointSaved():
            view.checkpoints.append(event)
        case Found():
            view.findings.append(event)
        case Tried():
            view.tried.append(event)
            view.findings = [_with(e, event) for e in view.findings]
        case Repaired():
            view.repairs.append(event)
        case RunEnded():
            view.ended = event


def _with(found: Found, tried: Tried) -> Found:
    """The finding with what happened when its fixes were tried."""
    same = found.finding.rule == tried.rule
    return replace(found, finding=replace(found.finding, tried=tried.text)) if same else found


def lasting(view: View, event: RunStarted, told: list[T], passed: int, step: Callable[[T], int]) -> tuple[list[T], int]:
    """What `still_told` says when an attempt has begun in the view."""
    first, went_back = -1 if event.anew else event.from_step, view.went_back >= 0
    return still_told(told, passed, step, first=first, again=event.again, went_back=went_back)


def _begin(view: View, event: RunStarted) -> None:
    """What an attempt that begins anew forgets is kept, for one that goes back to it."""
    if event.anew and view.attempts:
        view.left[view.attempts[-1].attempt] = {name: getattr(view, name) for name in _OF_ATTEMPTS}
    if event.back in view.left:
        for name, value in view.left[event.back].items():
            setattr(view, name, value)
    first = -1 if event.anew else event.from_step
    _cut(view, first)
    if event.again or first < view.went_back:
        view.went_back = event.from_step if event.again else -1
    view.findings, view.passed = lasting(view, event, view.findings, view.passed, lambda e: e.step)
    view.attempts.append(event)


_OF_ATTEMPTS = (
    *("losses", "norms", "steps", "skipped", "evals", "shown", "probed", "checkpoints", "findings"),
    *("passed", "went_back"),
)


def _cut(view: View, step: int) -> None:
    """Forget what a resumed attempt does again."""
    view.losses = {s: v for s, v in view.losses.items() if s <= step}
    view.norms = {s: v for s, v in view.norms.items() if s <= step}
    view.steps = [e for e in view.steps if e.step <= step]
    view.skipped = [e for e in view.skipped if e.step <= step]
    view.evals = [e for e in view.evals if e.step <= step]
    view.shown = [e for e in view.shown if e.step <= step]
    view.probed = [e for e in view.probed if e.step <= step]
    view.checkpoints = [e for e in view.checkpoints if e.step <= step]


def as_dict(event: Event) -> dict[str, Any]:
    """An event as plain data."""
    return {"event": type(event).__name__, **asdict(event)}
