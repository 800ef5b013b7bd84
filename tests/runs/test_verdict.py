"""Scores read with their intervals, and nothing is called better that chance may have made."""

from __future__ import annotations

import math

import pytest

from trainwright.core.events import Difference
from trainwright.runs.verdict import score_lines, verdicts

SIMPLE = {"constant": {"m": 0.3}, "linear": {"m": 0.8}}


def test_intervals_stand_behind_their_scores() -> None:
    scores = {"valid/accuracy": 0.9, "test/accuracy": 0.85, "test/loss": 0.1}
    lines = score_lines(scores, {"linear": {"accuracy": 0.8}}, "accuracy", intervals={"test/accuracy": (0.8, 0.9)})
    assert [line.split() for line in lines] == [
        ["test", "valid", "linear"],
        ["accuracy", "0.8500", "[0.8000,", "0.9000]", "0.9000", "0.8000"],
        ["loss", "0.1000"],
    ]


def test_a_narrow_score_table_becomes_lines() -> None:
    scores = {"test/accuracy": 0.9, "test/loss": 0.1}
    simple = {"constant": {"accuracy": 0.1}, "linear": {"accuracy": 0.8}}
    assert score_lines(scores, simple, "accuracy", 20) == [
        "accuracy: test 0.9000, constant 0.1000, linear 0.8000",
        "loss: test 0.1000",
    ]


@pytest.mark.parametrize(
    ("own", "better", "ahead"),
    [
        (0.9, "higher", []),
        (0.5, "higher", ["linear"]),
        (0.5, "lower", ["constant"]),
        (math.nan, "lower", ["constant", "linear"]),
    ],
)
def test_a_baseline_that_is_not_beaten_is_named_where_no_interval_is_known(
    own: float, better: str, ahead: list[str]
) -> None:
    told = verdicts({"valid/m": 0.0, "test/m": own}, SIMPLE, {}, "m", better)
    assert [n for n in SIMPLE if any(f"than that of the {n} baseline" in text for text, _ in told)] == ahead
    assert all(style == "warning" for _, style in told)


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_the_interval_of_the_difference_decides_what_is_said(better: str) -> None:
    sign = 1 if better == "higher" else -1

    def said(value: float, low: float, high: float) -> tuple[str, str]:
        apart = Difference(sign * value, *sorted((sign * low, sign * high)))
        (told,) = verdicts({"test/m": 0.5}, {"linear": {"m": 0.4}}, {"linear": {"m": apart}}, "m", better)
        return told

    assert said(0.1, 0.02, 0.2) == ("m beats linear by 0.1000 [0.0200, 0.2000]", "")
    within = "m is within noise of the linear baseline: +0.1000 [-0.0200, 0.2000]"
    assert said(0.1, -0.02, 0.2) == (within, "warning")
    assert said(0.1, 0.0, 0.2)[1] == "warning"
    worse = "m is worse than that of the linear baseline, by 0.1000 [-0.2000, -0.0200]"
    assert said(-0.1, -0.2, -0.02) == (worse, "warning")
