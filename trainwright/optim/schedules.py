"""Schedules: pure functions (step, steps of the whole budget) -> multiplier of the base rates; steps count from 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from trainwright.core.kinds import Schedule, schedules

Amount = Annotated[float, Field(ge=0)]  # below 1: a share of the budget; else steps
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(gt=0, le=1)]


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
def step(*, warmup: Amount = 0.0, every: Positive = 0.34, factor: Factor = 0.1) -> Schedule:
    """The rate is multiplied by ``factor`` again and again.

    Args:
        warmup: steps (1 or more) or share of the budget (below 1) over which the rate rises from near 0.
        every: steps (1 or more) or share of the budget (below 1) between two cuts, the warm-up included.
        factor: what each cut multiplies the rate by.
    """
    return partial(risen, partial(_stairs, every, factor), warmup)


@schedules.add("multi_step")
def multi_step(
    *,
    warmup: Amount = 0.0,
    at: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.5, 0.75),
    factor: Factor = 0.1,
) -> Schedule:
    """The rate is multiplied by ``factor`` at each of the given places.

    Args:
        warmup: steps (1 or more) or share of the budget (below 1) over which the rate rises from near 0.
        at: where it is cut: steps (1 or more) or shares of the budget (below 1), the warm-up included, in any order.
        factor: what each cut multiplies the rate by.

    Source: He et al. 2016, "Deep residual learning for image recognition", section 4.2, cuts it so at 0.5 and 0.75.
    """
    return partial(risen, partial(_cuts, at, factor), warmup)


@schedules.add("exponential")
def exponential(*, warmup: Amount = 0.0, final: Annotated[float, Field(gt=0, le=1)] = 0.01) -> Schedule:
    """The rate falls by the same share at every step, to ``final`` times the base rate where the budget ends.

    Args:
        warmup: steps (1 or more) or share of the budget (below 1) over which the rate rises from near 0.
        final: share of the base rate at the end.
    """
    return partial(_after_warmup, partial(pow, final), warmup, 0.0)


@schedules.add("polynomial")
def polynomial(*, warmup: Amount = 0.0, power: Positive = 2.0, final: Share = 0.0) -> Schedule:
    """A power of the share of the budget that is left: from the base rate down to ``final`` times it.

    Args:
        warmup: steps (1 or more) or share of the budget (below 1) over which the rate rises from near 0.
        power: 1 is a line; above 1 the rate falls fast first, below 1 late.
        final: share of the base rate at the end.

    Source: Liu et al. 2015, "ParseNet: looking wider to see better", section 3.3 ("poly", with power 0.9).
    """
    return partial(_after_warmup, partial(_power, power), warmup, final)


@schedules.add("cosine_restarts")
def cosine_restarts(
    *,
    warmup: Amount = 0.0,
    every: Positive = 0.25,
    growth: Annotated[int, Field(ge=1)] = 1,
    final: Share = 0.0,
) -> Schedule:
    """Half a cosine from the base rate to ``final`` times it, again and again.

    The end of the budget cuts the last one off where they do not fit; a whole number of them ends low.

    Args:
        warmup: steps (1 or more) or share of the budget (below 1) over which the rate rises from near 0, once.
        every: steps (1 or more) or share of the budget (below 1) that the first one takes after the warm-up.
        growth: how many times longer each is than the one before.
        final: share of the base rate before every restart.

    Source: Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", eq. 5.
    """
    return partial(risen, partial(_restarts, every, growth, final), warmup)


@schedules.add("one_cycle")
def one_cycle(
    *,
    warmup: Amount = 0.3,
    initial: Share = 0.04,
    final: Share = 4e-6,
    shape: Literal["cosine", "linear"] = "cosine",
) -> Schedule:
    """Up from ``initial`` to the base rate, which is the highest, and down to ``final`` at the budget's last step.

    The rate alone: momentum stays as it is.

    Args:
        warmup: steps (1 or more) or share of the budget (below 1) of the way up.
        initial: share of the base rate at the first step.
        final: share of the base rate at the last step.
        shape: of both ways.

    Source: Smith & Topin 2018, "Super-convergence", arXiv:1708.07120; the cosine and the defaults are fastai's.
    """
    return partial(_cycle, warmup, initial, final, _half_cosine if shape == "cosine" else _line)


@schedules.add("range_test")
def range_test(*, initial: Annotated[float, Field(gt=0, lt=1)] = 1e-8) -> Schedule:
    """Up from ``initial`` to the base rate, by the same share at every step: to see which rates a training bears.

    Args:
        initial: share of the base rate at the first step.

    Source: Smith 2017, "Cyclical learning rates for training neural networks", section 3.3; the rate grows
    exponentially, as in fastai.
    """
    return partial(_rise, initial)


def _steps(amount: float, steps: int) -> int:
    """An amount in steps: below 1 it is a share of the budget."""
    return round(amount * steps) if amount < 1 else round(amount)


def risen(then: Callable[[int, int, int], float], warmup: float, step: int, steps: int) -> float:
    """What ``then`` says, once the warm-up is over."""
    rising = _steps(warmup, steps)
    if step < rising:
        return (step + 1) / (rising + 1)  # never 0, and 1 exactly when the warm-up is over
    return then(step, steps, rising)


def _after_warmup(shape: Callable[[float], float], warmup: float, final: float, step: int, steps: int) -> float:
    return risen(partial(_fall, shape, final), warmup, step, steps)


def _fall(shape: Callable[[float], float], final: float, step: int, steps: int, rising: int) -> float:
    done = min(1.0, (step - rising) / max(1, steps - rising))
    return final + (1 - final) * shape(done)


def _flat(done: float) -> float:
    return 1.0


def _line(done: float) -> float:
    return 1 - done


def _half_cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


def _power(power: float, done: float) -> float:
    return float((1 - done) ** power)


def _stairs(every: float, factor: float, step: int, steps: int, rising: int) -> float:
    return float(factor ** (step // max(1, _steps(every, steps))))


def _cuts(at: tuple[float, ...], factor: float, step: int, steps: int, rising: int) -> float:
    return float(factor ** sum(step >= max(1, _steps(place, steps)) for place in at))


def _restarts(every: float, growth: int, final: float, step: int, steps: int, rising: int) -> float:
    length, place = max(1, _steps(every, steps)), step - rising
    while growth > 1 and place >= length:
        length, place = length * growth, place - length
    return final + (1 - final) * _half_cosine(place % length / length)


def _cycle(
    warmup: float, initial: float, final: float, shape: Callable[[float], float], step: int, steps: int
) -> float:
    top = max(0, _steps(warmup, steps) - 1)  # the step of the highest rate
    if step < top:
        return 1 - (1 - initial) * shape(step / top)
    return final + (1 - final) * shape(min(1.0, (step - top) / max(1, steps - 1 - top)))


def _rise(initial: float, step: int, steps: int) -> float:
    return float(initial ** max(0.0, 1 - step / max(1, steps - 1))) if steps > 1 else 1.0
