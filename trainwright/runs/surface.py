"""Where a console's lines go: above one live line on a terminal, one after the other everywhere else."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from trainwright.core.redaction import Hide, redacted

if TYPE_CHECKING:
    from rich.live import Live

_PAUSE = 10.0  # seconds between two step lines where nothing can be overwritten
_REFRESH = 0.1  # seconds between two drawings of the live line
# what a line is -> how it looks; rich leaves colours out where NO_COLOR is set
_STYLES = {"note": "cyan", "warning": "yellow", "error": "bold red", "head": "bold", "good": "green", "quiet": "dim"}

Parts = Sequence[tuple[int, str]]  # (rank, text): the higher the rank, the sooner it is left out


class Surface(Protocol):
    """Takes lines, and the parts of a line that changes all the time."""

    @property
    def lively(self) -> bool:
        """Whether one line can be drawn over again and again."""
        ...

    @property
    def width(self) -> int:
        """Columns."""
        ...

    def line(self, text: str, style: str = "") -> None:
        """Write a line that stays; ``style``: note, warning, error, head, good, quiet, command."""
        ...

    def live(self, parts: Parts) -> None:
        """Show how things stand now; not every call is shown."""
        ...

    def close(self) -> None:
        """End the live line."""
        ...


def surface(stream: TextIO, clock: Callable[[], float], hide: Hide = redacted) -> Surface:
    """A `Terminal` where the stream is one that can move its cursor, else `Paper` (a pipe, a file, a notebook)."""
    try:
        lively = stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")
    except (AttributeError, ValueError, OSError):  # a notebook's stand-in, or closed
        lively = False
    return Terminal(stream, clock, hide) if lively else Paper(stream, clock, hide)


class Paper:
    """Plain lines; of the parts that change all the time, one line every ten seconds."""

    lively = False
    width = 100

    def __init__(self, stream: TextIO, clock: Callable[[], float], hide: Hide = redacted) -> None:
        self.stream, self.clock, self.hide = stream, clock, hide
        self.last = clock()

    def line(self, text: str, style: str = "") -> None:
        """Write and flush; what the stream's encoding lacks becomes a question mark."""
        self.last = self.clock()
        self.stream.write(_encodable(self.hide(text), self.stream) + "\n")
        self.stream.flush()

    def live(self, parts: Parts) -> None:
        """All parts as a line, if the last line is ten seconds old."""
        if self.clock() - self.last >= _PAUSE:
            self.line("  ".join(text for _, text in parts))

    def close(self) -> None:
        """Nothing is open."""


class Terminal:
    """Lines above one live line. Nothing runs in a thread of its own: processes may fork at any time."""

    lively = True

    def __init__(self, stream: TextIO, clock: Callable[[], float], hide: Hide = redacted) -> None:
        from rich.console import Console as Rich

        self.rich = Rich(file=stream, force_terminal=True, force_jupyter=False, highlight=False)
        self.stream, self.clock, self.hide = stream, clock, hide
        self._drawn = -math.inf
        self._live: Live | None = None
        self._stop: Any = None

    @property
    def width(self) -> int:
        """Columns now: the window may have changed."""
        return max(20, self.rich.width)

    def line(self, text: str, style: str = "") -> None:
        """Write above the live line, broken between words; a command stays one line, to be copied."""
        from rich.text import Text

        shown = Text(_encodable(self.hide(text), self.stream), style=_STYLES.get(style, ""))
        self.rich.print(shown, soft_wrap=style == "command")

    def live(self, parts: Parts) -> None:
        """Draw the live line over, ten times a second at most, as much of it as fits."""
        from rich.live import Live
        from rich.text import Text

        if self.clock() - self._drawn < _REFRESH:
            return
        self._drawn = self.clock()
        shown = _encodable(fitted(parts, self.width - 1), self.stream)
        text = Text(shown, no_wrap=True, overflow="crop", end="")
        if self._live is None:
            self._live = Live(text, console=self.rich, auto_refresh=False, transient=True)
            self._stop = weakref.finalize(self, self._live.stop)  # gives the cursor back, whatever happens
            self._live.start(refresh=True)
        else:
            self._live.update(text, refresh=True)

    def close(self) -> None:
        """Wipe the live line."""
        if self._live is not None:
            self._stop()
            self._live, self._drawn = None, -math.inf


def fitted(parts: Parts, width: int) -> str:
    """Parts side by side; while they do not fit, the one of the highest rank is left out."""
    kept = list(parts)
    while len(kept) > 1 and len("  ".join(text for _, text in kept)) > width:
        kept.remove(max(kept, key=lambda p: p[0]))
    return "  ".join(text for _, text in kept)[:width]


def _encodable(text: str, stream: TextIO) -> str:
    code = stream.encoding or "utf-8"
    return text.encode(code, "replace").decode(code)
