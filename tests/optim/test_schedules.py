"""Schedules are pure functions of (step, steps)."""

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


def test_the_cosine_is_a_cosine_and_the_line_a_line() -> None:
    for step in range(100):
        assert schedules["cosine"]()(step, 100) == pytest.approx((1 + math.cos(math.pi * step / 100)) / 2)
        assert schedules["linear"]()(step, 100) == pytest.approx(1 - step / 100)
        assert schedules["constant"]()(step, 100) == 1


@pytest.mark.parametrize(("warmup", "rising"), [(0.1, 10), (10.0, 10), (0.0, 0), (1.0, 1)])
def test_a_warm_up_below_1_is_a_share_of_the_budget_else_steps(warmup: float, rising: int) -> None:
    values = [schedules["constant"](warmup=warmup)(s, 100) for s in range(100)]
    assert [v for v in values if v < 1] == pytest.approx([(s + 1) / (rising + 1) for s in range(rising)])


def test_stairs_fall_where_they_should() -> None:
    values = [schedules["step"](every=0.25, factor=0.1)(s, 8) for s in range(8)]
    assert values == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert [schedules["step"](every=3.0, factor=0.5)(s, 8) for s in range(7)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]


@pytest.mark.parametrize(
    ("name", "options"), [("cosine", {"final": 1.5}), ("linear", {"warmup": -1}), ("step", {"every": 0})]
)
def test_options_out_of_range_are_told(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="out of range"):
        check(schedules[name], options, "schedule")
