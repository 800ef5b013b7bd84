"""Which records a fold of a cross-validation is judged on: scikit-learn's own folds for the same seed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainwright.core.errors import DataError, UserError
from trainwright.data.divide import Ids, numbered

_SEEDS = 2**32  # that scikit-learn knows


@dataclass(frozen=True, slots=True)
class Fold:
    """One of ``of`` folds, counted from 0, in one of several repetitions."""

    of: int
    number: int
    repeat: int = 0
    seed: int = 0

    @classmethod
    def read(cls, told: dict[str, int]) -> Fold:
        """Of a recipe's table; UserError for what is no fold."""
        known = ("of", "number", "repeat", "seed")
        if odd := [k for k in told if k not in known]:
            raise UserError(f"data.fold.{odd[0]}", "unknown option", f"write some of: {', '.join(known)}")
        for name in ("of", "number"):
            if name not in told:
                raise UserError("data.fold", f"{name} is missing", "write { of = 5, number = 0 }")
        fold = cls(**told)
        if fold.of < 2 or not 0 <= fold.number < fold.of or fold.repeat < 0 or fold.seed < 0:
            what = f"number {fold.number} of {fold.of} is no fold"
            raise UserError("data.fold", what, "write { of = 5, number = 0 } with 0 ≤ number < of and of at least 2")
        return fold


def random_fold(ids: Ids, fold: Fold) -> tuple[Ids, Ids]:
    """(training, held-out) ids, as `sklearn.model_selection.RepeatedKFold` divides them.

    Its first repetition is ``KFold(of, shuffle=True, random_state=seed)``.
    """
    from sklearn.model_selection import RepeatedKFold

    _enough(len(ids), fold, "records")
    splitter = RepeatedKFold(n_splits=fold.of, n_repeats=fold.repeat + 1, random_state=fold.seed % _SEEDS)
    return _taken(splitter, ids, None, None, fold)


def stratified_fold(ids: Ids, classes: Sequence[Hashable], fold: Fold) -> tuple[Ids, Ids]:
    """The same as `sklearn.model_selection.RepeatedStratifiedKFold`; ``classes`` (n,) belong to ``ids``."""
    from sklearn.model_selection import RepeatedStratifiedKFold

    codes, names = numbered(classes)
    sizes = np.bincount(codes)
    if sizes.min() < fold.of:
        rare = names[int(sizes.argmin())]
        few = f"{sizes.min()} record{'s' * (int(sizes.min()) != 1)}"
        what = f"class {rare!r} has {few}, too few for {fold.of} folds with one in each"
        fewer = f"write {sizes.min()} folds at most, or " if sizes.min() > 1 else "leave the class out, or write "
        raise DataError("data.fold", what, f'{fewer}split = "random"')
    splitter = RepeatedStratifiedKFold(n_splits=fold.of, n_repeats=fold.repeat + 1, random_state=fold.seed % _SEEDS)
    return _taken(splitter, ids, codes, None, fold)


def grouped_fold(ids: Ids, groups: Sequence[Hashable], fold: Fold) -> tuple[Ids, Ids]:
    """Whole groups, as ``GroupKFold(of, shuffle=True, random_state=seed + repeat)``; ``groups`` belong to ``ids``."""
    from sklearn.model_selection import GroupKFold

    codes, count = _in_order(groups)
    _enough(count, fold, "groups")
    splitter = GroupKFold(n_splits=fold.of, shuffle=True, random_state=(fold.seed + fold.repeat) % _SEEDS)
    return _taken(splitter, ids, None, codes, Fold(fold.of, fold.number))


def chronological_fold(ids: Ids, times: NDArray[Any] | None, fold: Fold) -> tuple[Ids, Ids]:
    """All records before a stretch of time, and that stretch, as ``TimeSeriesSplit(of)``: a rolling origin.

    ``times`` (n,) belong to ``ids``; without them ids are in order of time. Records of one time are never divided:
    where some have the same, it is the times that are cut into stretches of equal number.
    """
    from sklearn.model_selection import TimeSeriesSplit

    if fold.repeat:
        raise UserError("repeats", "stretches of time have one order, and cannot be drawn again", "leave it out")
    moments = np.arange(len(ids)) if times is None else np.unique(times, return_inverse=True)[1]
    distinct = np.arange(int(moments.max()) + 1)
    _enough(len(distinct) - 1, fold, "later times")
    before, held = next(islice(TimeSeriesSplit(n_splits=fold.of).split(distinct), fold.number, None))
    return ids[np.isin(moments, before)], ids[np.isin(moments, held)]


def _in_order(values: Sequence[Hashable]) -> tuple[Ids, int]:
    """Each value's number in sorted order, by which scikit-learn draws groups, and how many there are."""
    try:
        names: list[Any] = sorted(set(values))
    except TypeError:  # of several types
        codes, names = numbered(values)
        return codes, len(names)
    known = {name: i for i, name in enumerate(names)}
    return np.array([known[v] for v in values], dtype=np.int64), len(names)


def _taken(splitter: Any, ids: Ids, classes: Ids | None, groups: Ids | None, fold: Fold) -> tuple[Ids, Ids]:
    which = fold.repeat * fold.of + fold.number
    train, held = next(islice(splitter.split(ids, classes, groups), which, None))
    return np.sort(ids[train]), np.sort(ids[held])


def _enough(count: int, fold: Fold, what: str) -> None:
    if count < fold.of:
        raise DataError("data.fold", f"{count} {what} cannot fill {fold.of} folds", "write fewer folds")
