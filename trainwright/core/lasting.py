"""What was told of a run and is still told when another attempt at it begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def still_told(
    told: list[T], passed: int, step: Callable[[T], int], *, first: int, again: bool, went_back: bool
) -> tuple[list[T], int]:
    """What is still told, and how many of the first are so for good.

    A run that goes back by itself takes steps again at another rate. What was found in them the first time may not be
    found again, and is told all the same, also where the run is interrupted before it is there once more.

    Args:
        told: in the order in which it was.
        passed: of the first, how many were for good until now.
        step: at which one of them was told.
        first: the step at which the attempt begins; -1 where it begins anew.
        again: it goes back by itself.
        went_back: an earlier one did, and begins not behind this one.
    """
    if again:
        return told, len(told)
    passed = passed if went_back else 0
    return [x for i, x in enumerate(told) if i < passed or step(x) <= first], passed
