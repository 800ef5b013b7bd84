"""Baselines are fitted in what time they may take; the constant and the linear one always."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from tests.tasks.cases import part_of
from trainwright.core.rows import Encoded
from trainwright.core.task import Baseline, Task, TooSlowError
from trainwright.metrics.baselines import Constant
from trainwright.runs.baselines import allowed, baselines
from trainwright.tasks.supervised import Supervised

Fits = Mapping[str, Callable[[float], Baseline]]


def judged(fits: Fits, seconds: float, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], dict[str, str]]:
    """What a task with these baselines reaches, and what it leaves out."""
    task = Supervised(loss="mse")
    records = [{"x": [float(i)], "y": float(i % 2)} for i in range(12)]
    task.processor.fit(records)
    part = part_of(records, task.processor)
    monkeypatch.setattr(Supervised, "baselines", lambda self, train: fits)
    found, skipped = baselines(task, part, part, task.metrics(), seconds)
    return {n: j.values for n, j in found.items()}, skipped


def zero(seconds: float) -> Baseline:
    return Constant(torch.zeros(()))


def slow(seconds: float) -> Baseline:
    time.sleep(0.05)
    return Constant(torch.zeros(()))


def test_a_short_training_gives_them_two_seconds_and_a_long_one_its_twentieth() -> None:
    assert allowed(3.0) == 2.0
    assert allowed(400.0) == 20.0


def test_what_must_be_there_is_fitted_first_and_whatever_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []

    def boosting(seconds: float) -> Baseline:
        told.append(seconds)
        return zero(seconds)

    found, skipped = judged({"boosting": boosting, "linear": slow, "constant": zero}, 0.01, monkeypatch)
    assert list(found) == ["linear", "constant"]
    assert "nothing is left of the 0.0 s" in skipped["boosting"]
    assert not told
    found, skipped = judged({"boosting": boosting, "linear": slow, "constant": zero}, 10.0, monkeypatch)
    assert list(found) == ["linear", "constant", "boosting"]
    assert not skipped
    assert 9.0 < told[0] < 9.96  # what the others left


def test_one_that_would_take_too_long_says_so_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def boosting(seconds: float) -> Baseline:
        raise TooSlowError("would take about 14 s")

    found, skipped = judged({"constant": zero, "boosting": boosting}, 2.0, monkeypatch)
    assert list(found) == ["constant"]
    assert skipped["boosting"].startswith("would take about 14 s; ")
    assert "of the 2.0 s that baselines may take" in skipped["boosting"]


def test_one_that_fails_spoils_nothing_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def linear(seconds: float) -> Baseline:
        raise ValueError("singular matrix")

    found, skipped = judged({"linear": linear, "constant": zero}, 2.0, monkeypatch)
    assert list(found) == ["constant"]
    assert skipped == {"linear": "ValueError: singular matrix"}


def test_a_function_has_the_metrics_and_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = judged({"constant": lambda seconds: lambda batch: {"value": batch.targets["y"] + 2}}, 2.0, monkeypatch)
    assert found["constant"].keys() == {"rmse", "mae", "r2"}
    assert found["constant"]["mae"] == pytest.approx(2)


@pytest.mark.parametrize("rows", [1, 1000, 3000])
def test_a_part_of_any_size_is_judged_whole(rows: int) -> None:
    task = Supervised(loss="mse")
    x = np.random.default_rng(0).normal(size=rows)
    records = [{"x": [float(v)], "y": float(2 * v)} for v in x]
    task.processor.fit(records)
    part: Encoded = part_of(records, task.processor)
    fitted: Task[Any] = task
    found, _ = baselines(fitted, part, part, task.metrics(), 2.0)
    assert len(found["constant"].rows["rmse"]) == rows
    assert found["constant"].values["mae"] == pytest.approx(
        float(np.abs(2 * x - 2 * x.mean()).mean()), rel=1e-5, abs=1e-6
    )
