"""Schedules are pure functions of (step, steps). That each is the curve of its name is in test_references.py."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwright.core.errors import UserError
from trainwright.core.kinds import schedules
from trainwright.core.schema import check

OPTIONS: dict[str, dict[str, Any]] = {
    "constant": {"warmup": 0.1},
    "cosine": {"warmup": 0.1, "final": 0.05},
    "linear": {"warmup": 3.0, "final": 0.2},
    "step": {"every": 0.25, "factor": 0.5},
    "multi_step": {"warmup": 0.1, "at": (0.3, 20.0), "factor": 0.2},
    "exponential": {"warmup": 0.1, "final": 0.05},
    "polynomial": {"warmup": 5.0, "power": 0.9, "final": 0.01},
    "cosine_restarts": {"warmup": 0.1, "every": 0.2, "growth": 2, "final": 0.1},
    "plateau": {"warmup": 0.1, "factor": 0.5},
    "one_cycle": {"warmup": 0.2, "initial": 0.1, "shape": "linear"},
    "range_test": {"initial": 1e-3},
}


@pytest.mark.parametrize("name", sorted(OPTIONS))
@given(steps=st.integers(1, 400), step=st.integers(0, 500))
def test_multipliers_are_between_0_and_1_and_never_0_within_the_budget(name: str, steps: int, step: int) -> None:
    for options in ({}, OPTIONS[name]):
        value = schedules[name](**options)(step, steps)
        assert 0 <= value <= 1
        assert value > 0 or step >= steps


@pytest.mark.parametrize("name", schedules.names())
def test_every_schedule_is_tested_here(name: str) -> None:
    assert name in OPTIONS


@pytest.mark.parametrize("name", ["cosine", "linear"])
@given(steps=st.integers(2, 300))
def test_after_the_warm_up_the_rate_falls_from_1_to_the_final_share(name: str, steps: int) -> None:
    schedule = schedules[name](warmup=0.0, final=0.1)
    values = [schedule(s, steps) for s in range(steps + 1)]
    assert values[0] == 1
    assert math.isclose(values[-1], 0.1)
    assert all(a > b for a, b in pairwise(values))
    assert schedule(steps + 5, steps) == pytest.approx(0.1)  # beyond the budget it stays there


@pytest.mark.parametrize(("warmup", "rising"), [(0.1, 10), (10.0, 10), (0.0, 0), (1.0, 1)])
def test_a_warm_up_below_1_is_a_share_of_the_budget_else_steps(warmup: float, rising: int) -> None:
    values = [schedules["constant"](warmup=warmup)(s, 100) for s in range(100)]
    assert [v for v in values if v < 1] == pytest.approx([(s + 1) / (rising + 1) for s in range(rising)])


def test_stairs_fall_where_they_should() -> None:
    values = [schedules["step"](every=0.25, factor=0.1)(s, 8) for s in range(8)]
    assert values == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert [schedules["step"](every=3.0, factor=0.5)(s, 8) for s in range(7)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - {"one_cycle", "range_test"}))
def test_a_warm_up_goes_before_any_schedule_and_hides_nothing_after_it(name: str) -> None:
    options = {k: v for k, v in OPTIONS[name].items() if k != "warmup"}
    warm, cold = schedules[name](warmup=10.0, **options), schedules[name](**options)
    assert [warm(s, 100) for s in range(10)] == pytest.approx([(s + 1) / 11 for s in range(10)])
    if name in ("step", "multi_step"):  # their places are counted from the start
        assert [warm(s, 100) for s in range(10, 100)] == [cold(s, 100) for s in range(10, 100)]
    elif name == "cosine_restarts":
        assert [warm(s, 100) for s in range(10, 100)] == [cold(s, 100) for s in range(90)]
    else:
        assert [warm(s, 100) for s in range(10, 100)] == pytest.approx([cold(s, 90) for s in range(90)])


@given(steps=st.integers(4, 300), warmup=st.floats(0, 0.99))
def test_one_cycle_goes_up_once_and_down_once(steps: int, warmup: float) -> None:
    values = [schedules["one_cycle"](warmup=warmup)(s, steps) for s in range(steps)]
    top = values.index(max(values))
    assert values[top] == 1
    assert all(a < b for a, b in pairwise(values[: top + 1]))
    assert all(a > b for a, b in pairwise(values[top:]))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("multi_step", {"at": []}),
        ("multi_step", {"at": [0.5, -1.0]}),
        ("cosine_restarts", {"growth": 0}),
        ("exponential", {"final": 0.0}),
        ("polynomial", {"power": 0.0}),
        ("one_cycle", {"shape": "square"}),
    ],
)
def test_options_of_the_curves_are_checked(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"schedule\.{next(iter(options))}"):
        check(schedules[name], options, "schedule")


@pytest.mark.parametrize(
    ("name", "options"), [("cosine", {"final": 1.5}), ("linear", {"warmup": -1}), ("step", {"every": 0})]
)
def test_options_out_of_range_are_told(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="out of range"):
        check(schedules[name], options, "schedule")
