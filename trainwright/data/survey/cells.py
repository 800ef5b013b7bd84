"""Samples that contradict each other, with the same inputs and other targets; and numbers that stand for nothing."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from trainwright.core.data_facts import Code, Conflict

_CODES = {float(s * v) for v in (99, 999, 9999, 99999, 999999, 9999999, 1e30, 32767, 65535) for s in (1, -1)} | {-9.0}
_LEAST, _OFTEN = 3, 1e-3  # times that a code occurs, and its share of the rows
_APART = 1.0  # times the range of all other numbers


def conflicts(hashes: npt.NDArray[np.int64], target: npt.NDArray[np.float64]) -> Conflict:
    """Of samples (N,) with the same hash of their inputs, those whose targets (N,) are not the same."""
    if len(hashes) < 2 or not np.isfinite(target).all():
        return Conflict()
    _, group = np.unique(hashes, return_inverse=True)
    kinds, code = np.unique(target, return_inverse=True)
    pairs, counts = np.unique(np.stack([group, code]), axis=1, return_counts=True)
    most = np.zeros(group.max() + 1, np.int64)
    np.maximum.at(most, pairs[0], counts)
    several = np.bincount(pairs[0], minlength=len(most)) > 1
    conflicting = int(several[group].sum())
    return Conflict(
        rows=len(hashes),
        classes=len(kinds),
        conflicting=conflicting,
        best=float(most.sum() / len(hashes)),
        guess=float(np.bincount(code).max() / len(hashes)),
    )


def code(name: str, values: npt.NDArray[np.float64]) -> Code | None:
    """A number such as -999 that repeats at one end of a column (N,), further from all others than these from another.

    NaN among the values is missing, and is left out.
    """
    known = values[np.isfinite(values)]
    if len(known) < 20:
        return None
    for value in (float(known.min()), float(known.max())):
        others = known[known != value]
        count = len(known) - len(others)
        if value not in _CODES or count < max(_LEAST, _OFTEN * len(known)) or len(np.unique(others)) < 3:
            continue
        low, high = float(others.min()), float(others.max())
        gap = low - value if value < low else value - high
        if gap > _APART * (high - low) and math.isfinite(gap):
            return Code(name, value, count, len(known), low, high)
    return None
