"""What a schedule says, before it moves any weight: a schedule may be a person's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real

from trainwright.core.errors import TrainwrightError, UserError
from trainwright.core.registry import failed
from trainwright.core.responsive import Responsive

_LOOKED_AT = 1000  # steps of a schedule that are looked at before the first one


def multiplier(schedule: Callable[[int, int], float], step: int, steps: int) -> float:
    """The multiplier of the base rates at a step; UserError where it is none."""
    try:
        value = schedule(step, steps)
    except TrainwrightError:
        raise
    except Exception as error:
        raise failed("schedule", error) from error
    if type(value) is float and 0 <= value < math.inf:
        return value
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < math.inf:
        shown = f"{float(value):g}" if isinstance(value, Real) else f"{value!r} ({type(value).__name__})"
        raise UserError("schedule", f"gives {shown} at step {step} of {steps}", "return a finite number, 0 or more")
    return float(value)


def look_ahead(schedule: Callable[[int, int], float], first: int, steps: int) -> None:
    """UserError where a schedule will not say a multiplier: found now, not hours later.

    A schedule with a memory is asked for its first step alone.
    """
    if first >= steps:
        return
    last = first + 1 if isinstance(schedule, Responsive) else steps
    for step in {*range(first, last, max(1, (last - first) // _LOOKED_AT)), last - 1}:
        multiplier(schedule, step, steps)
