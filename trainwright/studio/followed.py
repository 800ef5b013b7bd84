"""One run, followed: what its log said so far, read on from where the last look ended, shared by all who watch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from threading import Lock
from typing import Any, BinaryIO, NamedTuple, TypeVar

from trainwright.core.events import EvalDone, Event, Probed, RunStarted, Shown, View, advance, load
from trainwright.studio.columns import Column
from trainwright.studio.files import Place, UnreadableError

T = TypeVar("T")

LOSS, NORM, RATE, SPEED, SECONDS, WAITED, MEMORY = (
    "train/loss", "gradient norm", "learning rate", "samples per second", "seconds per step", "seconds waited",
    "memory (MB)",
)  # fmt: skip
_STEP = b'{"event":"StepDone"'
_SHOWN = b'{"event":"Shown"'
_PIECE = 4 << 20  # bytes read at a time
_ONCE = 64 << 20  # bytes read in one look: others wait
_VERSIONS = count()
_ANSWERS = 24  # that are kept
_LINE = 64 << 20  # bytes of one event; a longer line is no event
_MOST = 4000  # columns of one kind: a log of anybody's may name millions


class Spot(NamedTuple):
    """Where in the log an event lies that is read only when somebody looks at it."""

    step: int
    part: str
    offset: int  # bytes
    size: int


@dataclass(slots=True)
class _Told:
    """All that the log said; made anew where the log is not the one it was."""

    view: View  # without the steps, samples and statistics, which are in the columns and spots
    columns: dict[str, Column]
    layers: dict[str, dict[str, Column]]  # by statistic and layer
    shown: list[Spot]
    step: int = 0
    seconds: float = 0.0  # of all steps
    samples: int = 0
    offset: int = 0  # bytes read
    rest: bytes = b""  # the beginning of a line
    torn: bool = False
    lost: bool = False  # inside a line that is too long


class Followed:
    """A run as its log tells it.

    Steps go straight into columns of numbers: a million of them are read in about a second and weigh 16 MB. All other
    events make the same `View` that every reader has.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.lock = Lock()  # held by who reads on, and by who looks
        self.version = next(_VERSIONS) << 32  # changes when anything is new; no other look at the run has the same
        self.why = ""  # it cannot be read
        self.behind = True  # there is more in the log than was read
        self._answers: dict[str, tuple[Hashable, Any]] = {}  # by question: what the answer depends on, and the answer
        self._file: tuple[int, int] = (0, 0)  # device and number of the log
        self._told = _fresh()

    @property
    def view(self) -> View:
        """Everything but steps, samples and statistics."""
        return self._told.view

    @property
    def columns(self) -> Mapping[str, Column]:
        """Numbers by name, over the steps."""
        return self._told.columns

    @property
    def layers(self) -> Mapping[str, Mapping[str, Column]]:
        """Statistics of the layers, by statistic and layer."""
        return self._told.layers

    @property
    def shown(self) -> Sequence[Spot]:
        """Where what the network said is to be read."""
        return self._told.shown

    @property
    def step(self) -> int:
        """The last step that counts."""
        return self._told.step

    @property
    def samples(self) -> int:
        """Seen since the run began."""
        return self._told.samples

    @property
    def seconds(self) -> float:
        """All steps that were logged took, done again or not."""
        return self._told.seconds

    def catch_up(self) -> bool:
        """Read what is new, 64 MB at most in one look; whether anything is."""
        with self.lock:
            before = self.version
            try:
                with self.place.events() as file:
                    self._read(file)
                why = ""
            except (UnreadableError, OSError) as error:
                why = str(error)
            self.version += why != self.why
            self.why = why
            return self.version != before

    def answer(self, question: str, depends: Hashable, tell: Callable[[], T]) -> T:
        """What was answered before, where nothing happened since: a hundred who watch cost what one does.

        Args:
            question: what is asked.
            depends: beside the version of the run, what the answer depends on.
            tell: the answer; nothing is read on meanwhile.
        """
        with self.lock:
            now, (then, kept) = (self.version, depends), self._answers.pop(question, (None, None))
            found: T = kept if then == now else tell()
            self._answers[question] = now, found
            while len(self._answers) > _ANSWERS:
                del self._answers[next(iter(self._answers))]  # that nobody asked for longest
            return found

    def exhibits(self, spot: Spot) -> Shown:
        """What the network said at a spot; UnreadableError where the log no longer holds it."""
        with self.place.events() as file:
            file.seek(spot.offset)
            line = file.read(spot.size)
        try:
            event = load(line.decode())
        except (ValueError, KeyError, TypeError, AttributeError):
            event = None
        if not isinstance(event, Shown):
            raise UnreadableError("events.jsonl: is not the file it was")
        return event

    def _read(self, file: BinaryIO) -> None:
        about = _identity(file)
        if about[0] != self._file or about[1] < self._told.offset:  # another log, or a shorter one
            self._file, self._told = about[0], _fresh()
            self.version += 1
        file.seek(self._told.offset)
        until = self._told.offset + _ONCE
        while self._told.offset < until and (piece := file.read(_PIECE)):
            self._take(piece)
        if self.behind != (self._told.offset < about[1]):
            self.behind = not self.behind
            self.version += 1

    def _take(self, piece: bytes) -> None:
        told = self._told
        start = told.offset - len(told.rest)
        *lines, rest = (told.rest + piece).split(b"\n")
        for line in lines:
            if told.lost:
                told.lost, told.torn = False, True
            elif line.strip():
                self._line(line, start)
            start += len(line) + 1
        told.offset += len(piece)
        told.lost, told.rest = (told.lost or len(rest) > _LINE, b"" if len(rest) > _LINE or told.lost else rest)
        self.version += bool(lines)

    def _line(self, line: bytes, offset: int) -> None:
        """One event into the columns or the view; what a crash tore counts only where no attempt begins after it."""
        told = self._told
        try:
            started = self._event(line, offset)
            torn = False
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            started, torn = False, True
        if told.torn and not started:
            told.view.unreadable += 1
        told.torn = torn

    def _event(self, line: bytes, offset: int) -> bool:
        """Take an event; whether it begins an attempt."""
        told = self._told
        if line.startswith(_STEP):
            _steps(told, json.loads(line))
            return False
        event: Event = load(line.decode())
        match event:
            case RunStarted():
                _cut(told, event.from_step)
                advance(told.view, event)
            case Shown():
                told.shown.append(Spot(event.step, event.part, offset, len(line)))
            case Probed():
                _probed(told, event)
            case EvalDone():
                for name, value in event.metrics.items():
                    _column(told.columns, f"{event.part}/{name}").append(event.step, [value])
                advance(told.view, event)
            case _:
                advance(told.view, event)
        return isinstance(event, RunStarted)


def _fresh() -> _Told:
    return _Told(View(), {}, {}, [])


def _identity(file: BinaryIO) -> tuple[tuple[int, int], int]:
    about = os.fstat(file.fileno())
    return (about.st_dev, about.st_ino), about.st_size


def _steps(told: _Told, fields: Mapping[str, Any]) -> None:
    """A StepDone, straight into the columns."""
    last, seconds, samples = int(fields["step"]), float(fields["seconds"]), int(fields["samples"])
    losses, norms = (list(map(float, fields[name])) for name in ("losses", "norms"))
    if not losses or last < len(losses):
        raise ValueError("no steps")
    first = last - len(losses) + 1
    _column(told.columns, LOSS).append(first, losses)
    if norms:
        _column(told.columns, NORM).append(first, norms[: len(losses)])
    spent = seconds * len(losses)
    single = {RATE: fields["lr"], SECONDS: seconds, WAITED: fields["waited"]}
    if spent > 0 and samples > told.samples:
        single[SPEED] = (samples - told.samples) / spent
    if memory := fields.get("memory"):
        single[MEMORY] = float(memory) / 1e6
    for name, value in {**single, **{f"train/{k}": v for k, v in fields.get("parts", {}).items()}}.items():
        _column(told.columns, name).append(last, [float(value)])
    told.step, told.samples = last, samples
    told.seconds += spent if math.isfinite(spent) else 0.0


def _probed(told: _Told, event: Probed) -> None:
    for layer, numbers in event.statistics.items():
        for name, value in numbers.items():
            if name in told.layers or len(told.layers) < _MOST:
                _column(told.layers.setdefault(name, {}), layer).append(event.step, [value])


def _column(columns: dict[str, Column], name: str) -> Column:
    if name not in columns and len(columns) >= _MOST:
        raise ValueError("too many names")
    return columns.setdefault(name, Column())


def _cut(told: _Told, step: int) -> None:
    """Forget what a resumed attempt does again."""
    for column in _all(told):
        column.cut(step)
    told.shown = [spot for spot in told.shown if spot.step <= step]
    told.step = min(told.step, step)


def _all(told: _Told) -> Iterator[Column]:
    yield from told.columns.values()
    for by_layer in told.layers.values():
        yield from by_layer.values()
