"""A number over the steps of a run, and what a screen of so many pixels can show of it: no spike is ever lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from trainwright.runs.plot import smoothed

Numbers = np.ndarray[Any, np.dtype[np.float64]]


class Drawn(NamedTuple):
    """(n,) each: one point for each stretch of steps."""

    step: Numbers  # the middle of the stretch
    low: Numbers  # its smallest and largest finite value; NaN where there is none
    high: Numbers
    mean: Numbers  # of the finite ones
    bad: Numbers  # how many were NaN or infinite


class Column:
    """Values by step, ascending, appended to as a run goes on."""

    def __init__(self) -> None:
        self._steps = np.empty(64, np.float64)
        self._values = np.empty(64, np.float64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def steps(self) -> Numbers:
        """(N,)"""
        return self._steps[: self._count]

    @property
    def values(self) -> Numbers:
        """(N,)"""
        return self._values[: self._count]

    def append(self, first: int, values: Sequence[float]) -> None:
        """Values of the steps from ``first`` on; a step that is there already is replaced."""
        if self._count and first <= self._steps[self._count - 1]:
            self.cut(first - 1)
        end = self._count + len(values)
        if end > len(self._steps):
            self._steps = np.resize(self._steps, max(end, 2 * len(self._steps)))
            self._values = np.resize(self._values, len(self._steps))
        self._values[self._count : end] = values
        self._steps[self._count : end] = np.arange(first, first + len(values))
        self._count = end

    def cut(self, step: int) -> None:
        """Forget what came after a step."""
        self._count = int(np.searchsorted(self.steps, step, side="right"))

    def drawn(self, first: float, last: float, room: int, *, log: bool = False, smooth: float = 0.0) -> Drawn:
        """At most ``room`` points of the steps between two, ends included.

        Args:
            first: step.
            last: step.
            room: points that fit.
            log: the axis of the steps is logarithmic, so early stretches are shorter.
            smooth: draw the running mean over this share of the whole column instead of the values.
        """
        start, end = int(np.searchsorted(self.steps, first)), int(np.searchsorted(self.steps, last, side="right"))
        values = self._smoothed(start, end, smooth) if smooth else self.values[start:end]
        return _stretches(self.steps[start:end], values, room, log)

    def _smoothed(self, start: int, end: int, share: float) -> Numbers:
        """The running mean of a part, which sees what lies beyond its ends."""
        half = max(1, round(self._count * share / 2))
        low, high = max(0, start - half), min(self._count, end + half)
        return smoothed(self.values[low:high], half)[start - low : end - low]


def _stretches(steps: Numbers, values: Numbers, room: int, log: bool) -> Drawn:
    finite = np.isfinite(values)
    known = np.where(finite, values, np.nan)
    if len(steps) <= room:
        return Drawn(steps.copy(), known, known, known, (~finite).astype(float))
    starts = _starts(steps, room, log)
    counts = np.add.reduceat(finite.astype(float), starts)
    sums = np.add.reduceat(np.where(finite, values, 0.0), starts)
    sizes = np.diff(np.append(starts, len(steps)))
    mean = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    middle = (steps[starts] + steps[starts + sizes - 1]) / 2
    return Drawn(middle, np.fmin.reduceat(known, starts), np.fmax.reduceat(known, starts), mean, sizes - counts)


def _starts(steps: Numbers, room: int, log: bool) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Where each stretch begins; none is empty."""
    if not log:
        return np.linspace(0, len(steps), room, endpoint=False).astype(np.intp)
    edges = np.geomspace(max(steps[0], 1.0), max(steps[-1], 2.0), room + 1)[:-1]
    return np.unique(np.append(0, np.minimum(np.searchsorted(steps, edges), len(steps) - 1)))
