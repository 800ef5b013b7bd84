"""The scoreboard of planted mistakes: what counts as said, named, stopped and repaired."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from benchmarks.mistakes.__main__ import judgements, told
from benchmarks.mistakes.child import SYSTEMS
from benchmarks.mistakes.judge import Judged, alarms, constant, form, judged, metric
from benchmarks.mistakes.planted import BASES, MISTAKES, Mistake

HEALTHY = {"said": "epoch 1 loss 0.53\nepoch 2 loss 0.41\n", "error": "", "metric": 0.8}
WHOLE = {"steps": 240, "planned": 240, "finite": True, "largest": 1.0, "largest at first": 0.5}


def seen(**record: Any) -> Judged:
    """A run of a mistake that leaves the plain loop at the constant answer."""
    return judged({**WHOLE, "error": "", "metric": 0.3, **record}, [HEALTHY], HEALTHY, (0.3, 0.8), 0.3, "learning rate")


def test_what_is_said_of_a_healthy_twin_too_does_not_count() -> None:
    assert not seen(said="epoch 1 loss 9.1\nepoch 2 loss 8.4").detected


def test_how_far_a_bar_has_come_is_no_word() -> None:
    bars = [f"Epoch 2/15 : |{'█' * n}{'-' * (40 - n)}| {2.5 * n:.2f}% [{n}/40 00:00<00:0{n}... 1.{n}]" for n in (3, 9)]
    assert form(bars[0]) == form(bars[1])
    assert form(bars[0]) != form(bars[0] + " UserWarning: shapes differ")


def test_a_word_beyond_it_counts_whatever_it_is() -> None:
    told = seen(said="epoch 1 loss 9.1\nUserWarning: something is odd")
    assert told.detected
    assert not told.named


def test_a_word_that_names_the_culprit_is_found() -> None:
    assert seen(said="the learning rate is too high").named


def test_nan_in_a_table_is_told_apart_from_a_word() -> None:
    told = seen(said="epoch 1 loss nan")
    assert told.shown
    assert not told.detected


@pytest.mark.parametrize("line", ["DeprecationWarning: old", "The loader does not have many workers"])
def test_what_is_said_of_the_installation_does_not_count(line: str) -> None:
    assert not seen(said=line).detected


def test_an_end_counts_as_in_time_where_the_weights_are_sound() -> None:
    assert seen(said="", error="ValueError: no", steps=3).stopped
    assert not seen(said="", error="ValueError: no", steps=3, finite=False).stopped
    assert not seen(said="", error="ValueError: no", steps=3, largest=1e9).stopped
    assert not seen(said="something", steps=240).stopped


def test_repaired_is_what_reaches_the_healthy_twin() -> None:
    assert seen(said="", metric=0.79).repaired
    assert not seen(said="", metric=0.7).repaired
    assert not seen(said="", metric=math.nan).repaired


def test_what_does_no_harm_cannot_be_repaired() -> None:
    record = {**WHOLE, "said": "", "error": "", "metric": 0.8}
    assert not judged(record, [HEALTHY], HEALTHY, (0.8, 0.8), 0.3, "x").repaired


def test_a_system_with_findings_of_its_own_is_judged_by_these() -> None:
    told = seen(said="the learning rate is printed in a header", messages=["units are dead"])
    assert told.said == ("units are dead",)
    assert not told.named


def test_a_warning_about_a_healthy_training_is_a_false_alarm() -> None:
    assert alarms({"said": "UserWarning: your loss is odd"})
    assert not alarms({"said": "FutureWarning: soon"})
    assert alarms({"said": "", "messages": ["odd"]})
    assert not alarms(HEALTHY)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.name)
def test_each_mistake_changes_its_plan_and_leaves_the_healthy_one(mistake: Mistake) -> None:
    base, plan = BASES[mistake.base], mistake.plan
    changed = [
        name
        for name in plan.__dataclass_fields__
        if not same(getattr(base, name), getattr(plan, name))
    ]  # fmt: skip
    assert changed, "nothing is broken"
    assert same(BASES[mistake.base].train, base.train)
    assert re.compile(mistake.names).search("everything is fine") is None


def same(a: Any, b: Any) -> bool:
    """Of arrays in pairs, or of plain values."""
    if isinstance(a, tuple) and a and isinstance(a[0], np.ndarray):
        return all(x.shape == y.shape and np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def test_there_are_thirty_mistakes_of_five_parts() -> None:
    assert len(MISTAKES) >= 30
    assert {m.part for m in MISTAKES} == {"data", "model", "loss", "optimizer", "loop"}


def test_the_metric_is_that_of_the_rows_nobody_has_seen() -> None:
    for plan in BASES.values():
        y = plan.test[1]
        right = np.eye(4)[y] if plan.kind == "classes" else y - 0.5 if plan.loss == "bce_logits" else y
        assert metric(plan, lambda x, right=right: right) == 1.0
        assert 0 <= constant(plan) < 0.6
        assert math.isnan(metric(plan, lambda x: np.full((len(x), 4), np.nan)))


def test_the_tables_have_a_row_for_each_system_and_a_line_for_each_mistake() -> None:
    name = MISTAKES[0].name
    twins = {f"healthy: {kind}": {**WHOLE, **HEALTHY} for kind in BASES}
    broken = {**WHOLE, "said": "UserWarning: data has nan", "error": "", "metric": 0.3}
    records = {f"{system}, default": {**twins, name: broken} for system in SYSTEMS}
    rows = judgements(records)
    assert all(row[name].named for row in rows.values())
    page = told({"records": records, "versions": dict.fromkeys(SYSTEMS, "1.0")}, False)
    assert page.count("named") == len(SYSTEMS) + 1
    assert f"| {name}: " in page
