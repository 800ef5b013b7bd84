"""A curve of a million steps on a screen of a thousand: nothing that matters is lost, nothing is invented."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwright.runs.plot import smoothed
from trainwright.studio.columns import Column

Values = st.lists(st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf]), min_size=1, max_size=200)


def column(values: list[float], first: int = 1) -> Column:
    made = Column()
    made.append(first, values)
    return made


@given(Values, st.integers(2, 60), st.booleans())
def test_no_smallest_no_largest_and_no_bad_value_is_lost(values: list[float], room: int, log: bool) -> None:
    drawn = column(values).drawn(0, math.inf, room, log=log)
    finite = [v for v in values if math.isfinite(v)]
    assert len(drawn.step) <= max(room + 1, 2)
    assert drawn.bad.sum() == len(values) - len(finite)
    assert (np.diff(drawn.step) > 0).all()
    if finite:
        assert np.nanmin(drawn.low) == min(finite)
        assert np.nanmax(drawn.high) == max(finite)
        known = ~np.isnan(drawn.mean)
        assert (drawn.low[known] <= drawn.mean[known] + 1e-6).all()
        assert (drawn.mean[known] <= drawn.high[known] + 1e-6).all()
    else:
        assert np.isnan(drawn.mean).all()


@given(Values, st.integers(0, 210), st.integers(0, 210))
def test_few_points_are_drawn_as_they_are(values: list[float], first: int, last: int) -> None:
    drawn = column(values).drawn(first, last, 1000)
    wanted = {s: v for s, v in enumerate(values, 1) if first <= s <= last}
    assert drawn.step.tolist() == list(wanted)
    assert [v for v in drawn.mean if math.isfinite(v)] == [v for v in wanted.values() if math.isfinite(v)]


def test_one_spike_among_a_million_is_seen_at_every_zoom() -> None:
    values = np.ones(1_000_000)
    values[333_333] = 50.0
    made = column(values.tolist())
    for width in (1_000_000, 10_000, 100):
        drawn = made.drawn(333_334 - width // 2, 333_334 + width // 2, 900)
        at = drawn.high.argmax()
        assert drawn.high[at] == 50.0
        assert abs(drawn.step[at] - 333_334) <= width / 900 + 1


def test_a_step_that_is_told_again_is_replaced_and_what_followed_is_forgotten() -> None:
    made = column([1.0, 2.0, 3.0, 4.0])
    made.append(3, [30.0])
    assert made.steps.tolist() == [1, 2, 3]
    assert made.values.tolist() == [1.0, 2.0, 30.0]
    made.cut(1)
    assert made.values.tolist() == [1.0]
    made.cut(0)
    assert len(made) == 0
    assert made.drawn(0, math.inf, 10).step.tolist() == []


def test_a_part_is_smoothed_as_the_whole_is() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    whole = smoothed(values, 25)
    part = column(values.tolist()).drawn(301, 700, 1000, smooth=0.05)
    assert part.mean == pytest.approx(whole[300:700], abs=1e-9)


def test_a_logarithmic_axis_gives_the_beginning_as_much_room_as_the_end() -> None:
    drawn = column([1.0] * 100_000).drawn(1, 100_000, 500, log=True)
    assert len(drawn.step) > 200
    assert (drawn.step < 1000).sum() > len(drawn.step) / 3
