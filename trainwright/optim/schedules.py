"""Schedules: pure functions (step, steps of the whole budget) -> multiplier of the base rates; steps count from 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated

from pydantic import Field

from trainwright.core.kinds import Schedule, schedules

Amount = Annotated[float, Field(ge=0)]  # below 1: a share of the budget; else steps
Share = Annotated[float, Field(ge=0, le=1)]


@schedules.add("constant")
def constant(*, warmup: Amount = 0.0) -> Schedule:
    """The base rate throughout.

    Args:
        warmup: steps (1 or more) or share of the budget (below 1) over which the rate rises from near 0.
    """
    return partial(_after_warmup, _flat, warmup, 1.0)


@schedules.add("cosine")
def cosine(*, warmup: Amount = 0.0, final: Share = 0.0) -> Schedule:
    """Half a cosine from the base rate down to ``final`` times it, which is reached where the budget ends.

    Args:
        warmup: steps (1 or more) or share of the budget (below 1) over which the rate rises from near 0.
        final: share of the base rate at the end.

    Source: Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", without the restarts.
    """
    return partial(_after_warmup, _half_cosine, warmup, final)


@schedules.add("linear")
def linear(*, warmup: Amount = 0.0, final: Share = 0.0) -> Schedule:
    """A straight line from the base rate down to ``final`` times it, which is reached where the budget ends.

    Args:
        warmup: steps (1 or more) or share of the budget (below 1) over which the rate rises from near 0.
        final: share of the base rate at the end.
    """
    return partial(_after_warmup, _line, warmup, final)


@schedules.add("step")
def step(*, every: Annotated[float, Field(gt=0)] = 0.34, factor: Annotated[float, Field(gt=0, le=1)] = 0.1) -> Schedule:
    """The rate is multiplied by ``factor`` again and again.

    Args:
        every: steps (1 or more) or share of the budget (below 1) between two cuts.
        factor: what each cut multiplies the rate by.
    """
    return partial(_stairs, every, factor)


def _steps(amount: float, steps: int) -> int:
    """An amount in steps: below 1 it is a share of the budget."""
    return round(amount * steps) if amount < 1 else round(amount)


def _after_warmup(shape: Callable[[float], float], warmup: float, final: float, step: int, steps: int) -> float:
    rising = _steps(warmup, steps)
    if step < rising:
        return (step + 1) / (rising + 1)  # never 0, and 1 exactly when the warm-up is over
    done = min(1.0, (step - rising) / max(1, steps - rising))
    return final + (1 - final) * shape(done)


def _flat(done: float) -> float:
    return 1.0


def _line(done: float) -> float:
    return 1 - done


def _half_cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


def _stairs(every: float, factor: float, step: int, steps: int) -> float:
    return float(factor ** (step // max(1, _steps(every, steps))))
