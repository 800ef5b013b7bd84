"""Intervals of shares and medians, where several runs belong to one program and are not independent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from trainwright.core.counting import wilson


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95 % interval."""

    value: float
    low: float
    high: float
    programs: int
    runs: int

    def __str__(self) -> str:
        if not self.programs:
            return "—"
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}] of {self.programs} programs, {self.runs} runs"


def share(hits: Mapping[str, Sequence[bool]]) -> Share:
    """The mean over programs of each one's share of hits; the interval counts programs, not runs.

    Seeds of one program mostly agree, so that counting runs would promise too much.

    Args:
        hits: id of the program -> whether each of its runs is a hit.
    """
    told = {name: runs for name, runs in hits.items() if runs}
    n = len(told)
    total = sum(sum(runs) / len(runs) for runs in told.values())
    low, high = wilson(total, n)
    return Share(total / n if n else math.nan, low, high, n, sum(len(runs) for runs in told.values()))


@dataclass(frozen=True, slots=True)
class Middle:
    """A median, with the range that holds the middle half."""

    value: float
    low: float
    high: float
    runs: int

    def __str__(self) -> str:
        return (
            f"{self.value:.4g} (half of {self.runs} between {self.low:.4g} and {self.high:.4g})" if self.runs else "—"
        )


def middle(values: Sequence[float]) -> Middle:
    """The median and the quartiles."""
    known = sorted(v for v in values if not math.isnan(v))
    if not known:
        return Middle(math.nan, math.nan, math.nan, 0)
    n = len(known)
    return Middle(median(known), known[n // 4], known[min(n - 1, 3 * n // 4)], n)
