"""What a film is to a model: pictures in the order of time, looked at in windows."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from trainwright.data.images import Form, Look, Pixels

WHERE = "field 'video'"


class Film(ABC):
    """Pictures in the order of time."""

    timed: bool  # whether time is counted in seconds; else in pictures

    @property
    @abstractmethod
    def length(self) -> float:
        """Seconds, or the number of pictures."""

    @property
    @abstractmethod
    def look(self) -> Look:
        """Size and colour of the first picture, upright."""

    @abstractmethod
    def shown(self, times: Sequence[float], form: Form) -> Pixels:
        """(M, C, H, W) uint8: the picture that is shown at each time, in ``form``. At most M are held at once."""


def placed(length: float, span: float, most: int) -> list[float]:
    """Where windows of ``span`` begin that cover a film: evenly placed, each half over the next, ``most`` at most.

    A film that is no longer than a window has one, from its beginning.
    """
    room = length - min(span, length)
    count = min(most, 1 + math.ceil(2 * room / span - 1e-6)) if room > 0 else 1
    return [room * i / (count - 1) for i in range(count)] if count > 1 else [room / 2 if most == 1 else 0.0]


def within(start: float, span: float, frames: int) -> list[float]:
    """Times in the middles of ``frames`` equal parts of a window."""
    return [start + (i + 0.5) * span / frames for i in range(frames)]
