"""Whether one branch of a training is better than others: on samples, one by one, against chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_SURE = 2.0  # standard errors
_LEAST = 0.005  # of the loss of no change: less is not worth a change


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of a branch: a number for each sample (M,), smaller is better; None where it broke down."""

    each: Tensor | None = None
    trouble: str = ""

    def mean(self, most: float = math.inf) -> float:
        """The mean, and no more than ``most``: what is worse than the start is all the same."""
        if self.each is None or not bool(torch.isfinite(self.each).all()):
            return most
        return min(float(self.each.mean()), most)


@dataclass(frozen=True, slots=True)
class Weighed:
    """A fix beside no change and another seed."""

    gain: float  # of the better of those two over it; below 0 it is worse
    error: float  # standard error of that, chance of sample and of seed together
    better: bool  # for sure
    worse: bool  # for sure


def weigh(fix: Judged, same: Judged, seed: Judged, start: float, guess: float = math.nan) -> Weighed:
    """Whether a fix beats both controls by more than chance explains.

    The noise is that of the samples, by the differences on each of them, and that of the run itself: how far no change
    and another seed lie apart. How far above guessing these two end says nothing of a fix that ends below it.

    Args:
        fix: the branch with it.
        same: the one without.
        seed: the one with another seed.
        start: the mean before any of them; what is above it counts as it.
        guess: what one and the same answer reaches; NaN where that is not known.
    """
    found = _weighed(fix, same, seed, start)
    if found.better or not fix.mean(start) < guess < start:
        return found
    learned = _weighed(fix, same, seed, guess)
    return learned if learned.better else found


def _weighed(fix: Judged, same: Judged, seed: Judged, start: float) -> Weighed:
    a, b, c = same.mean(start), seed.mean(start), fix.mean(start)
    best = same if a <= b else seed
    apart = _apart(best, fix, start)
    noise = math.hypot(apart, (a - b) / math.sqrt(2))
    gain = min(a, b) - c
    better = gain > _SURE * noise and gain > _LEAST * abs(min(a, b))
    return Weighed(gain, noise, better, gain < -_SURE * noise)


def _apart(one: Judged, other: Judged, start: float) -> float:
    """Standard error of the mean difference; samples of a branch that broke down count as the start."""
    sizes = [len(j.each) for j in (one, other) if j.each is not None]
    if not sizes or max(sizes) < 2:
        return 0.0
    x, y = (_whole(j, sizes[0], start) for j in (one, other))
    return float((x - y).std() / math.sqrt(len(x)))


def _whole(judged: Judged, size: int, start: float) -> Tensor:
    if judged.each is None or not bool(torch.isfinite(judged.each).all()) or float(judged.each.mean()) > start:
        return torch.full((size,), start, dtype=torch.float64)
    return judged.each.double()


def best_of(weighed: Sequence[Weighed], means: Sequence[float]) -> int | None:
    """Which of the fixes that are better for sure is the best; None where none is.

    Among those that are as good as the best but for noise, the first: the least that must be changed.
    """
    sure = [i for i, w in enumerate(weighed) if w.better]
    least = min((means[i] for i in sure), default=math.nan)
    return next((i for i in sure if means[i] <= least + weighed[i].error), None)
