"""Who speaks of a run: everything, or where somebody asked for quiet, only what is wrong, on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol, TextIO

from trainwright.core.events import Event, Found, Repaired, RunEnded, StepSkipped
from trainwright.core.redaction import Hide, redacted
from trainwright.runs.console import Console
from trainwright.runs.run import Run
from trainwright.runs.surface import surface
from trainwright.runs.words import skipped_line, tell_finding, tell_repair, tell_verdict

_WRONG = ("SUSPECT", "FAILED")
_known: ContextVar[set[str] | None] = ContextVar("known", default=None)  # what was found in runs that share their data


@contextlib.contextmanager
def each_once() -> Iterator[None]:
    """What was found in one of the quiet runs within the block is not told again of others, in the same words.

    Nor is the verdict of one of which nothing else is told.
    """
    before = _known.set(set())
    try:
        yield
    finally:
        _known.reset(before)


class Speaker(Protocol):
    """What a run tells a person, as `runs.console.Console` does it."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Work before the first step."""
        ...

    def start(self, a: Any, cadence: Any, monitor: str, better: str) -> None:
        """The facts of the run."""
        ...

    def __call__(self, event: Event) -> None:
        """An event."""
        ...

    def follow(self, folder: Path) -> None:
        """The run lies there now."""
        ...

    def say(self, text: str, style: str = "") -> None:
        """A line of its own."""
        ...

    def close(self) -> None:
        """Nothing follows for now."""
        ...

    def end(self, run: Run) -> None:
        """The last words."""
        ...


class Troubles:
    """Warnings and errors, what was repaired, and a verdict that is not good; nothing else, and nothing of a sound run.

    Args:
        stream: where they go; standard error unless given.
        hide: keeps secrets out of what is said.
    """

    def __init__(self, stream: TextIO | None = None, hide: Hide = redacted) -> None:
        self._stream, self._hide = stream, hide
        self._spoken = False  # of this run

    def progress(self, what: str, done: int, total: int) -> None:
        """Nothing."""

    def start(self, a: Any, cadence: Any, monitor: str, better: str) -> None:
        """Nothing."""

    def __call__(self, event: Event) -> None:
        """What is wrong; a terminal that is gone is no reason to end a training."""
        with contextlib.suppress(OSError, ValueError):
            self._tell(event)

    def _tell(self, event: Event) -> None:
        out = surface(self._stream or sys.stderr, time.monotonic, self._hide)
        match event:
            case Found() if event.finding.severity != "note" and self._is_news(event.finding.what):
                tell_finding(event.finding, out)
            case StepSkipped():
                self._spoken = True
                out.line(skipped_line(event), "warning")
            case Repaired():
                self._spoken = True
                tell_repair(event, out)
            case RunEnded() if event.verdict in _WRONG and (self._spoken or _known.get() is None):
                tell_verdict(event.verdict, [], out)
            case _:
                pass

    def _is_news(self, words: str) -> bool:
        """Whether no run beside this one has told it."""
        known = _known.get()
        if known is not None and words in known:
            return False
        if known is not None:
            known.add(words)
        self._spoken = True
        return True

    def follow(self, folder: Path) -> None:
        """Nothing."""

    def say(self, text: str, style: str = "") -> None:
        """Warnings and errors."""
        if style in ("warning", "error"):
            with contextlib.suppress(OSError, ValueError):
                surface(self._stream or sys.stderr, time.monotonic, self._hide).line(text, style)

    def close(self) -> None:
        """Nothing."""

    def end(self, run: Run) -> None:
        """Nothing."""


def speaker(quiet: bool, *, stderr: bool = False, hide: Hide = redacted) -> Console | Troubles:
    """Who speaks.

    Args:
        quiet: only of what is wrong.
        stderr: all that is said goes to standard error.
        hide: keeps secrets out of what is said.
    """
    return Troubles(hide=hide) if quiet else Console(stderr=stderr, hide=hide)
