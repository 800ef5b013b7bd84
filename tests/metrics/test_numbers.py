"""Metrics of numbers agree with scikit-learn, however the samples are cut into batches."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tests.metrics.measuring import NUMBERS, batch_of, drawn, measured, rows_of
from trainwright.core.kinds import metrics
from trainwright.core.task import Classes, Numbers
from trainwright.metrics import numbers

NAMES = ("mae", "r2", "rmse")


def test_every_metric_of_numbers_has_a_reference() -> None:
    ours = [n for n in metrics.names() if metrics.tags(n)["of"] is Numbers]
    assert tuple(n for n in ours if metrics[n].__module__.startswith("trainwright.")) == NAMES


def test_metrics_of_anything_else_would_need_a_test_like_this_one() -> None:
    ours = [n for n in metrics.names() if metrics[n].__module__.startswith("trainwright.")]
    assert {metrics.tags(n)["of"] for n in ours} == {Classes, Numbers}  # of classes: tests/metrics/test_classes.py


@given(
    n=st.integers(2, 50),
    k=st.integers(1, 4),
    seed=st.integers(0, 10**6),
    offset=st.sampled_from([0.0, 1e3, -1e6]),
    data=st.data(),
)
@settings(max_examples=25, deadline=None)
def test_they_agree_with_scikit_learn(n: int, k: int, seed: int, offset: float, data: st.DataObject) -> None:
    g = torch.Generator().manual_seed(seed)
    y = torch.randn(n, k, generator=g, dtype=torch.float64) * 3 + offset
    value = y + torch.randn(n, k, generator=g, dtype=torch.float64)
    cuts = sorted(data.draw(st.lists(st.integers(1, n - 1), max_size=4, unique=True)))
    a, b = y.numpy(), value.numpy()
    scaled, centred = replace(NUMBERS, scale=1.5), replace(NUMBERS, centre=(offset,) * k)
    found = {
        "rmse": (numbers.rmse(scaled), 1.5 * math.sqrt(sk.mean_squared_error(a, b))),
        "mae": (numbers.mae(scaled), 1.5 * sk.mean_absolute_error(a, b)),
        "r2": (numbers.r2(centred), sk.r2_score(a, b)),
    }
    assert tuple(sorted(found)) == NAMES
    for name, (metric, expected) in found.items():
        assert measured(metric, value, y, cuts) == pytest.approx(expected, rel=1e-9), name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(12,), (12, 3)])
def test_many_resamples_at_once_are_what_each_is_alone(name: str, shape: tuple[int, ...]) -> None:
    g = torch.Generator().manual_seed(0)
    y, value = torch.randn(shape, generator=g), torch.randn(shape, generator=g)
    weights = torch.randint(0, 3, (5, 12), generator=g)
    found = drawn(metrics[name](replace(NUMBERS, scale=2.0)), value, y, weights)
    assert found["at once"] == pytest.approx(found["one by one"], rel=1e-9)


def test_r2_keeps_its_digits_far_from_zero_when_it_knows_the_mean() -> None:
    g = torch.Generator().manual_seed(0)
    y = torch.randn(1000, 2, generator=g, dtype=torch.float64) + torch.tensor([1e9, 1.0])
    value = y + 0.1 * torch.randn(1000, 2, generator=g, dtype=torch.float64)
    exact = sk.r2_score(y.numpy(), value.numpy())
    centred = replace(NUMBERS, centre=(1e9, 1.0))
    assert measured(numbers.r2(centred), value, y, [3, 700]) == pytest.approx(exact, rel=1e-10)


def test_a_target_without_variance_scores_as_in_scikit_learn() -> None:
    y = torch.full((5,), 3.3, dtype=torch.float64)
    for value in (y, y + 1):
        expected = sk.r2_score(y.numpy(), value.numpy())
        assert measured(numbers.r2(NUMBERS), value, y, [2]) == expected


@pytest.mark.parametrize("name", NAMES)
def test_nan_is_never_hidden(name: str) -> None:
    assert math.isnan(measured(metrics[name](NUMBERS), torch.full((3,), math.nan), torch.arange(3.0)))


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_kept_in_double_precision(name: str) -> None:
    y = torch.zeros(3)
    assert metrics[name](NUMBERS).count({"out": y}, batch_of(y)).dtype == torch.float64
    assert rows_of(metrics[name](NUMBERS), y, y).shape[0] == 3


def test_errors_over_many_numbers_are_not_a_mean_of_means() -> None:
    y = np.array([[1.0, 2.0], [3.0, 7.0]])
    value = np.array([[1.5, 2.0], [3.0, 4.0]])
    found = measured(numbers.rmse(NUMBERS), torch.from_numpy(value), torch.from_numpy(y), [1])
    assert found == pytest.approx(math.sqrt(np.mean((value - y) ** 2)))
