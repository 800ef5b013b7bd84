from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwright.core.errors import DataError, UserError
from trainwright.core.schema import check, options
from trainwright.data.arrays import Arrays
from trainwright.data.divide import nearest
from trainwright.data.moments import moments
from trainwright.data.split import Split, split, split_options

quick = settings(max_examples=80, deadline=None)
seeds = st.integers(0, 2**63 - 1)
sizes = st.integers(0, 8) | st.sampled_from([0.1, 0.25, 0.3])


def source(n: int, **fields: Sequence[Any]) -> Arrays:
    return Arrays({"x": np.arange(n), **{k: list(v) for k, v in fields.items()}})


def lists(result: Split) -> dict[str, list[int]]:
    return {p: ids.tolist() for p, ids in result.parts.items()}


def lengths(result: Split) -> dict[str, int]:
    return {p: len(ids) for p, ids in result.parts.items()}


def whole(result: Split, n: int) -> bool:
    """Every record in one part, parts ascending int64, none empty, train first."""
    parts = list(result.parts.values())
    ascending = all(p.dtype == torch.int64 and bool((p.diff() > 0).all()) and len(p) for p in parts)
    return sorted(torch.cat(parts).tolist()) == list(range(n)) and ascending and next(iter(result.parts)) == "train"


def expected(size: float | int, n: int) -> int:
    return size if isinstance(size, int) else int(size * n + 0.5 + 1e-9)


# --- random and stratified


@quick
@given(st.integers(30, 200), sizes, sizes, seeds)
def test_a_random_split_has_every_record_once_and_exact_sizes(n: int, valid: float, test: float, seed: int) -> None:
    result = split(source(n), valid=valid, test=test, seed=seed)
    assert whole(result, n)
    assert result.how == "random"
    asked = {"valid": expected(valid, n), "test": expected(test, n)}
    assert {k: v for k, v in lengths(result).items() if k != "train"} == {k: v for k, v in asked.items() if v}


@quick
@given(st.lists(st.integers(0, 4), min_size=40, max_size=200), sizes, sizes, seeds)
def test_a_stratified_split_keeps_the_proportions(classes: list[int], valid: float, test: float, seed: int) -> None:
    n, counts = len(classes), Counter(classes)
    result = split(source(n), valid=valid, test=test, strata=classes, seed=seed)
    assert whole(result, n)
    assert result.how == "stratified"
    parts = lists(result)
    assert {classes[i] for i in parts["train"]} == set(classes)
    for part, size in (("valid", valid), ("test", test)):
        assert len(parts.get(part, [])) == expected(size, n)
        if min(counts.values()) > 20:  # no class so small that its last record decides
            drawn = Counter(classes[i] for i in parts.get(part, []))
            assert all(abs(drawn[c] - expected(size, n) * counts[c] / n) < 1 for c in counts)


@quick
@given(st.integers(1, 6), st.integers(1, 6), seeds)
def test_one_of_each_class_stays_in_train_whatever_is_asked(valid: int, test: int, seed: int) -> None:
    classes = list("aabbbccccd" * 2) + ["rare"]
    result = split(source(21), valid=valid, test=test, strata=classes, seed=seed)
    assert {classes[i] for i in result.parts["train"].tolist()} == set("abcd") | {"rare"}
    assert lengths(result) == {"train": 21 - valid - test, "valid": valid, "test": test}


def test_too_many_classes_for_the_parts_is_told() -> None:
    with pytest.raises(DataError, match="one record of each of the 9 classes stays in train"):
        split(source(10), valid=1, test=1, strata=[*range(9), 0])


@pytest.mark.parametrize(
    "strata",
    [np.arange(100) % 3, torch.arange(100) % 3, [i % 3 for i in range(100)], ["abc"[i % 3] for i in range(100)]],
)
def test_classes_may_be_an_array_a_tensor_or_a_list(strata: Any) -> None:
    assert lists(split(source(100), strata=strata)) == lists(split(source(100), strata=[i % 3 for i in range(100)]))


@quick
@given(st.integers(50, 300), st.integers(1, 10), st.integers(1, 10), st.booleans(), seeds)
def test_the_size_of_valid_moves_no_test_record(n: int, one: int, other: int, classes: bool, seed: int) -> None:
    strata = [i % 3 for i in range(n)] if classes else None
    a, b = (split(source(n), valid=v, test=0.2, strata=strata, seed=seed).parts["test"] for v in (one, other))
    assert torch.equal(a, b)


@pytest.mark.parametrize("strata", [None, [i % 3 for i in range(100)]])
def test_the_seed_decides(strata: list[int] | None) -> None:
    one, again, other = (lists(split(source(100), strata=strata, seed=s)) for s in (5, 5, 6))
    assert one == again
    assert one != other


def test_a_split_is_the_same_for_ever() -> None:
    """Written down once: a changed order would let training records of old runs into new tests."""
    drawn = lists(split(source(12), valid=2, test=3, seed=1))
    assert drawn == {"train": [1, 3, 6, 7, 8, 9, 10], "valid": [4, 11], "test": [0, 2, 5]}


def test_every_record_is_as_likely_in_the_test_part() -> None:
    drawn = Counter(
        i for seed in range(400) for i in split(source(20), valid=0, test=5, seed=seed).parts["test"].tolist()
    )
    assert all(60 < drawn[i] < 140 for i in range(20))  # 100 expected, standard deviation 8.7


def test_sizes_are_rounded_as_they_are_written() -> None:
    assert lengths(split(source(10), valid=0.15, test=0.25)) == {"train": 5, "valid": 2, "test": 3}
    assert lengths(split(source(70), valid=0.1, test=0)) == {"train": 63, "valid": 7}


def test_a_tenth_each_is_usual() -> None:
    assert lengths(split(source(200))) == {"train": 160, "valid": 20, "test": 20}
    assert lengths(split(source(3))) == {"train": 1, "valid": 1, "test": 1}


# --- groups


@quick
@given(st.lists(st.integers(0, 30), min_size=30, max_size=300), sizes, sizes, seeds)
def test_no_group_is_in_two_parts(groups: list[int], valid: float, test: float, seed: int) -> None:
    if len(set(groups)) < 4:
        groups[:4] = [100, 101, 102, 103]
    result = split(source(len(groups), g=groups), valid=valid, test=test, group="g", seed=seed)
    assert whole(result, len(groups))
    owners = [{groups[i] for i in ids} for ids in lists(result).values()]
    assert all(not a & b for a, b in combinations(owners, 2))
    assert set(result.parts) == {"train"} | {p for p, s in (("valid", valid), ("test", test)) if s}


@quick
@given(st.lists(st.integers(1, 9), min_size=3, max_size=9), st.integers(1, 30))
def test_few_groups_come_as_near_as_whole_groups_can(weights: list[int], target: int) -> None:
    chosen = nearest(weights, target, 1)
    subsets = [c for k in range(1, len(weights)) for c in combinations(range(len(weights)), k)]
    best = min(abs(sum(weights[i] for i in c) - target) for c in subsets)
    assert len(set(chosen)) == len(chosen) < len(weights)
    assert abs(sum(weights[i] for i in chosen) - target) == best


@quick
@given(st.lists(st.integers(1, 9), min_size=100, max_size=400), seeds)
def test_many_groups_give_exact_sizes(weights: list[int], seed: int) -> None:
    groups = [g for g, w in enumerate(weights) for _ in range(w)]
    n = len(groups)
    result = split(source(n, g=groups), valid=0.1, test=0.2, group="g", seed=seed)
    assert (len(result.parts["valid"]), len(result.parts["test"])) == (expected(0.1, n), expected(0.2, n))


def test_groups_that_are_too_few_are_told() -> None:
    with pytest.raises(DataError, match=r"data\.group: 2 groups cannot fill 3 parts"):
        split(source(10, g=[0, 1] * 5), group="g")


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_missing_group_names_its_record(value: Any) -> None:
    with pytest.raises(DataError, match="record 2: 'g' is missing"):
        split(source(4, g=["a", "b", value, "c"]), group="g")


# --- time


@quick
@given(st.lists(st.integers(0, 40), min_size=20, max_size=200), sizes, sizes)
def test_later_records_are_tested_and_equal_times_stay_together(times: list[int], valid: float, test: float) -> None:
    times = [*times, 100, 101, 102]
    result = split(source(len(times), t=times), valid=valid, test=test, time="t")
    assert whole(result, len(times))
    spans = [(min(t), max(t)) for t in ([times[i] for i in ids] for ids in lists(result).values())]
    assert all(a[1] < b[0] for a, b in pairwise(spans))


@quick
@given(st.permutations(range(60)), st.integers(1, 20), st.integers(1, 20))
def test_different_times_give_exact_sizes(times: Sequence[int], valid: int, test: int) -> None:
    result = split(source(60, t=times), valid=valid, test=test, time="t")
    assert lengths(result) == {"train": 60 - valid - test, "valid": valid, "test": test}


def test_without_a_time_records_are_in_order_of_time() -> None:
    result = split(source(10), valid=2, test=3, how="chronological")
    assert lists(result) == {"train": [0, 1, 2, 3, 4], "valid": [5, 6], "test": [7, 8, 9]}
    assert result.contiguous


@pytest.mark.parametrize(
    "times",
    [
        ["2020-03", "2020-01", "2020-02", "2019-12"],
        ["2020-03-01", "2020-01-31", "2020-02-01", "2019-12-31"],
        ["2020-01-01T12:00:00.5+01:00", "2020-01-01T12:00:00+02:00", "2020-01-01 11:00:00Z", "2019-12-31T23:00+00:00"],
        [date(2020, 3, 1), date(2020, 1, 1), date(2020, 2, 1), date(2019, 1, 1)],
        [
            datetime(2020, 3, 1, tzinfo=UTC),
            datetime(2020, 1, 1, tzinfo=UTC),
            datetime(2020, 2, 1, tzinfo=UTC),
            datetime(1960, 1, 1, tzinfo=UTC),
        ],
        [1.5, -1.0, 1, -3],
        [1_600_000_000_000_000_003, 1_600_000_000_000_000_001, 1_600_000_000_000_000_002, 1_600_000_000_000_000_000],
    ],
)
def test_numbers_and_iso_dates_are_in_order(times: list[Any]) -> None:
    assert np.argsort(moments(times, "t", str)).tolist() == [3, 1, 2, 0]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["2020-01-01", "31.12.2020"], "record 1: 't' is '31.12.2020', which is no time; write numbers, or dates"),
        ([1, None], "record 1: 't' is missing"),
        ([1.0, float("nan")], "record 1: 't' is missing"),
        (["2020-01-01T00:00", "2020-01-01T00:00Z"], "record 1: .* has a time zone"),
        ([1, "2020-01-01"], "record 0: 't' is 1, which is no time"),
    ],
)
def test_what_is_no_time_names_its_record(times: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        moments(times, "t", lambda i: f"record {i}")


def test_one_time_alone_cannot_be_split() -> None:
    with pytest.raises(DataError, match=r"data\.time: 1 different time cannot fill 3 parts"):
        split(source(10, t=[5] * 10), time="t")


# --- mistakes

MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"valid": 0.01}, r"data\.valid: 0\.01 of 20 records would be empty; write valid = 1 or more"),
    ({"valid": 20}, r"data\.test: nothing would be left of 20 records to train on, with 2 for test and 20 for valid"),
    ({"valid": 0.5, "test": 0.5}, "nothing would be left"),
    ({"valid": -1}, r"data\.valid: -1 is no size"),
    ({"valid": float("nan")}, r"data\.valid: nan is no size"),
    ({"valid": True}, r"data\.valid: True is no size"),
    ({"valid": 1.5}, r"data\.valid: 1\.5 is no share below 1; write 0\.1 or 500"),
    ({"test": 5.0}, r"data\.test: 5\.0 is no share below 1; write 5 for as many records"),
    ({"group": "z"}, r"data\.group: records have no field 'z'"),
    ({"time": "gg"}, r"data\.time: records have no field 'gg'; did you mean|known: g, t, x"),
    ({"part": "z"}, r"data\.part: records have no field 'z'"),
    ({"group": "g", "time": "t"}, r"data\.time: contradicts data\.group"),
    ({"part": "g", "ranges": {"train": [0, 5]}}, r"data\.part: contradicts data\.ranges"),
    (
        {"group": "g", "how": "random"},
        r'data\.group: says nothing with split = "random"; leave it out, or write split = "grouped"',
    ),
    ({"time": "t", "how": "stratified", "strata": [0] * 20}, r"data\.time: says nothing with"),
    ({"how": "grouped"}, r"data\.group: required by"),
    ({"how": "ranges"}, r"data\.ranges: required by"),
    ({"how": "stratified"}, r"data\.split: there are no classes"),
    ({"how": "given"}, r"data\.split: the data come without parts"),
    ({"ranges": {"train": [0, 5]}, "valid": 0.1}, r"data\.valid: contradicts data\.ranges"),
    ({"ranges": {"train": [0, 5], "tset": [5, 6]}}, r"data\.ranges\.tset: no such part; did you mean 'test'"),
    ({"ranges": {"train": [0, 5], "test": [4, 6]}}, r"data\.ranges\.test: overlaps with train"),
    ({"ranges": {"train": [0, 21]}}, r"data\.ranges\.train: \[0, 21\] is no range of the 20 records"),
    ({"ranges": {"train": [3, 3]}}, r"data\.ranges\.train: \[3, 3\] is no range"),
    ({"ranges": {"train": [0, 3, 5]}}, r"data\.ranges\.train"),
    ({"ranges": {"test": [0, 5]}}, r"data\.ranges: train is missing"),
]


@pytest.mark.parametrize(("given_", "message"), MISTAKES)
def test_a_mistake_gives_one_message(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        split(source(20, g=range(20), t=range(20)), **given_)


def test_a_group_of_arrays_is_refused() -> None:
    with pytest.raises(DataError, match="record 0: 'g' is no single value"):
        split(Arrays({"g": np.zeros((5, 2))}), group="g")


def test_the_options_of_a_recipe_are_the_arguments_of_split() -> None:
    told = options(split_options)
    assert all(o.doc for o in told.values())
    given_ = check(split_options, {"valid": 0.1, "test": 30, "split": "random"}, "data")
    assert lengths(split(source(100), **split_options(**given_))) == {"train": 60, "valid": 10, "test": 30}
    with pytest.raises(UserError, match=r"data\.split: 'rnadom' is not valid"):
        check(split_options, {"split": "rnadom"}, "data")
    with pytest.raises(UserError, match=r"data\.valid: -0\.1 is out of range"):
        check(split_options, {"valid": -0.1}, "data")
