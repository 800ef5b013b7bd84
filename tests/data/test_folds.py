"""Folds are scikit-learn's own for the same seed; a fold is a split like any other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    RepeatedKFold,
    RepeatedStratifiedKFold,
    StratifiedKFold,
    TimeSeriesSplit,
)

from trainwright.core.errors import DataError, UserError
from trainwright.data.arrays import Arrays
from trainwright.data.split import Split, split

ROWS = 83
_rng = np.random.default_rng(0)
CLASSES = _rng.choice(["b", "a", "c"], ROWS, p=[0.5, 0.3, 0.2]).tolist()
GROUPS = [f"g{i}" for i in _rng.integers(0, 17, ROWS)]
TIMES = _rng.permutation(ROWS).astype(float).tolist()


def source(**more: Any) -> Any:
    return Arrays({"x": np.arange(ROWS), "group": GROUPS, "time": TIMES, "y": CLASSES, **more})


def fold(number: int, of: int = 5, **more: Any) -> Split:
    told = {k: more.pop(k) for k in ("repeat", "seed") if k in more}
    return split(source(), fold={"of": of, "number": number, **told}, **more)


def parts(found: Split) -> tuple[list[int], list[int]]:
    """Records that are learned from, for training or validation, and those of the fold."""
    rest = [i for name in ("train", "valid") if name in found.parts for i in found.parts[name].tolist()]
    return sorted(rest), found.parts["test"].tolist()


def theirs(splitter: Any, *given: Any) -> list[tuple[list[int], list[int]]]:
    return [(sorted(a.tolist()), sorted(b.tolist())) for a, b in splitter.split(np.arange(ROWS), *given)]


@pytest.mark.parametrize("valid", [0, 0.1])
@pytest.mark.parametrize("seed", [0, 7, 2**32 + 7])
def test_random_and_stratified_folds_are_those_of_scikit_learn(seed: int, valid: float) -> None:
    ours = [parts(fold(i, seed=seed, valid=valid)) for i in range(5)]
    assert ours == theirs(KFold(5, shuffle=True, random_state=seed % 2**32))
    ours = [parts(fold(i, seed=seed, valid=valid, strata=CLASSES)) for i in range(5)]
    assert ours == theirs(StratifiedKFold(5, shuffle=True, random_state=seed % 2**32), CLASSES)


def test_repeated_folds_are_those_of_scikit_learn() -> None:
    ours = [parts(fold(i, of=4, repeat=r, seed=3)) for r in range(3) for i in range(4)]
    assert ours == theirs(RepeatedKFold(n_splits=4, n_repeats=3, random_state=3))
    ours = [parts(fold(i, of=4, repeat=r, seed=3, strata=CLASSES)) for r in range(3) for i in range(4)]
    assert ours == theirs(RepeatedStratifiedKFold(n_splits=4, n_repeats=3, random_state=3), CLASSES)


def test_groups_stay_together_as_scikit_learn_has_them() -> None:
    ours = [parts(fold(i, seed=4, group="group")) for i in range(5)]
    assert all(not {GROUPS[i] for i in a} & {GROUPS[i] for i in b} for a, b in ours)
    assert ours == theirs(GroupKFold(5, shuffle=True, random_state=4), None, GROUPS)
    mixed = split(
        source(odd=[g if i % 2 else i for i, g in enumerate(GROUPS)]), fold={"of": 3, "number": 0}, group="odd"
    )
    assert mixed.parts["test"].numel()


def test_a_rolling_origin_trains_on_what_was_before() -> None:
    order = np.argsort(TIMES)
    for i, (a, b) in enumerate(TimeSeriesSplit(5).split(order)):
        train, held = parts(fold(i, time="time"))
        assert train == sorted(order[a].tolist())
        assert held == sorted(order[b].tolist())
    found = fold(2, time="time", valid=0.1)
    latest = max(TIMES[i] for i in found.parts["train"].tolist())
    assert latest < min(TIMES[i] for i in found.parts["valid"].tolist())


def test_records_of_one_time_are_never_divided() -> None:
    days = (np.arange(ROWS) // 10).tolist()
    for i in range(3):
        found = split(source(day=days), fold={"of": 3, "number": i}, time="day")
        seen = [{days[r] for r in ids.tolist()} for ids in found.parts.values()]
        assert not seen[0] & seen[-1]


def test_every_record_is_in_one_fold_and_its_valid_part_is_apart() -> None:
    found = [fold(i, valid=0.2, strata=CLASSES) for i in range(5)]
    assert sorted(i for f in found for i in f.parts["test"].tolist()) == list(range(ROWS))
    for f in found:
        ids = [i for part in f.parts.values() for i in part.tolist()]
        assert sorted(ids) == list(range(ROWS))
        assert f.how.startswith("fold ")
    assert "valid" not in fold(0, valid=0).parts


@pytest.mark.parametrize(
    ("told", "more", "message"),
    [
        ({"of": 5}, {}, "data.fold: number is missing"),
        ({"of": 5, "number": 5}, {}, "number 5 of 5 is no fold"),
        ({"of": 1, "number": 0}, {}, "number 0 of 1 is no fold"),
        ({"of": 5, "number": 0, "sed": 1}, {}, "data.fold.sed: unknown option"),
        ({"of": 5, "number": 0}, {"test": 0.1}, "data.test: contradicts data.fold"),
        ({"of": 5, "number": 0}, {"ranges": {"train": [0, 9]}}, "data.fold: contradicts data.ranges"),
        ({"of": 99, "number": 0}, {}, "83 records cannot fill 99 folds"),
        ({"of": 20, "number": 0}, {"group": "group"}, "groups cannot fill 20 folds"),
        ({"of": 40, "number": 0}, {"strata": CLASSES}, "records, too few for 40 folds"),
        ({"of": 5, "number": 0, "repeat": 1}, {"time": "time"}, "stretches of time have one order"),
        ({"of": 2, "number": 0}, {"valid": 60}, "nothing would be left of 41 records"),
    ],
)
def test_what_is_no_fold_is_one_clear_error(told: dict[str, int], more: dict[str, Any], message: str) -> None:
    with pytest.raises((UserError, DataError)) as caught:
        split(source(), fold=told, **more)
    assert message in str(caught.value)
