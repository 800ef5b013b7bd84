"""How targets follow one another: by chance, or in an order that a training would notice."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trainwright.core.data_facts import Order
from trainwright.data.survey.alone import classes_of

Numbers = npt.NDArray[np.float64]
_LEAST = 64  # targets of which anything is said


def agreement(y: Numbers, pairs: Sequence[tuple[int, int]], classes: bool) -> tuple[float, float, float]:
    """(alike, chance, error) of pairs of records: how often classes agree, or how numbers correlate.

    Args:
        y: of every record, NaN where it is not known.
        pairs: of records.
        classes: whether the numbers stand for classes.
    """
    both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    both = both[np.isfinite(y[both]).all(1)]
    known = y[np.isfinite(y)]
    if len(both) < _LEAST or not len(known) or known.std() == 0:
        return math.nan, math.nan, math.nan
    a, b = y[both[:, 0]], y[both[:, 1]]
    if classes:
        shares = np.unique(known, return_counts=True)[1] / len(known)
        chance = float((shares**2).sum())
        return float((a == b).mean()), chance, math.sqrt(chance * (1 - chance) / len(both))
    spread = (known - known.mean()) / known.std()
    ranks = np.argsort(np.argsort(spread)).astype(np.float64)  # one number far out must not decide
    full = np.full(len(y), np.nan)
    full[np.isfinite(y)] = (ranks - ranks.mean()) / max(1e-12, ranks.std())
    return float((full[both[:, 0]] * full[both[:, 1]]).mean()), 0.0, 1 / math.sqrt(len(both))


def order_of(y: Numbers, batch: int) -> Order:
    """Of targets (N,) in the order in which they are trained on."""
    if len(y) < _LEAST or not np.isfinite(y).all() or y.std() == 0:
        return Order()
    classes = classes_of(y)
    alike, chance, error = agreement(y, [(i, i + 1) for i in range(len(y) - 1)], classes)
    single = 0.0
    if classes and batch > 1:
        batches = [y[i : i + batch] for i in range(0, len(y) - batch + 1, batch)]
        single = sum(len(np.unique(b)) == 1 for b in batches) / max(1, len(batches))
    return Order(len(y), alike, chance, error, single)
