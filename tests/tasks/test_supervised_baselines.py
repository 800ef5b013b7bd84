"""What a module of one's own is measured against: the constant, and the linear baseline of arrays of any shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk
from torch import nn

from tests.tasks.cases import arrays, part_of
from tests.training import baselines_of
from trainwright.tasks.supervised import Supervised


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        ("cross_entropy", "class"),
        ("binary_cross_entropy", "yes"),
        (nn.BCELoss(), "yes"),
        ("mse", "number"),
        ("huber", "numbers"),
    ],
)
def test_the_linear_baseline_is_above_the_constant_where_the_rule_is_linear(loss: Any, target: str) -> None:
    task, records = Supervised(loss=loss), arrays(200, target=target)
    task.processor.fit(records)
    part = part_of(records, task.processor)
    found = baselines_of(task, part, part)
    assert found["constant"].keys() == found["linear"].keys() == {"loss", *task.metrics()}
    assert found["linear"]["loss"] < found["constant"]["loss"] / 2
    if target == "class":
        y = np.array([r["y"] for r in records])
        assert found["constant"]["loss"] == pytest.approx(
            sk.log_loss(y, np.tile(np.bincount(y) / 200, (200, 1))), rel=1e-6
        )


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_the_linear_baseline_takes_inputs_of_any_shape_and_its_strongest_numbers(loss: str) -> None:
    rng = np.random.default_rng(0)
    records = [{"x": rng.normal(size=(20, 20)), "y": 0} for _ in range(200)]  # 400 numbers, of which one tells
    records = [{**r, "y": int(r["x"][7, 5] > 0)} for r in records]
    task = Supervised(loss=loss)
    task.processor.fit(records)
    part = part_of(records, task.processor)
    fitted = task.baselines(part)["linear"](0.0)
    assert len(fitted.used) == 256
    assert 7 * 20 + 5 in fitted.used
    found = baselines_of(task, part, part)
    assert found["linear"]["loss"] < found["constant"]["loss"] / 2


def test_numbers_of_very_different_units_do_not_hinder_the_linear_baseline() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)) * [1e6, 1.0, 1e-5]
    records = [{"x": row, "y": int(row[1] + 1e5 * row[2] > 0)} for row in x]
    task = Supervised(loss="cross_entropy")
    task.processor.fit(records)
    part = part_of(records, task.processor)
    assert baselines_of(task, part, part)["linear"]["accuracy"] > 0.95


def test_two_inputs_have_the_constant_alone() -> None:
    task = Supervised(loss="cross_entropy", inputs=("x", "z"))
    records = [{"x": [i % 3], "z": [1], "y": i % 3} for i in range(12)]
    task.processor.fit(records)
    part = part_of(records, task.processor)
    assert list(task.baselines(part)) == ["constant"]
    assert baselines_of(task, part, part)["constant"]["accuracy"] == pytest.approx(1 / 3)
