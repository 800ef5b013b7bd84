"""Intervals of shares and medians, where several runs belong to one program and are not independent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Z = 1.959964  # 95 %


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


def wilson(hits: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; (0, 1) of nothing.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if n == 0:
        return 0.0, 1.0
    p = hits / n
    middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


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
