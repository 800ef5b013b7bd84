"""Metrics over uneven batches and ranks agree with scikit-learn on all samples at once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.task import Metric
from trainwright.metrics import numbers


def batch_of(y: Tensor) -> Batch:
    return Batch({}, {"y": y}, torch.tensor(float(len(y))), torch.arange(len(y)), len(y))


def measured(metric: Metric, name: str, output: Tensor, y: Tensor, cuts: Sequence[int] = ()) -> float:
    """As the engine does it: counted in batches, added or put together, divided once."""
    counted = [
        metric.count({name: o}, batch_of(t))
        for o, t in zip(output.tensor_split(cuts), y.tensor_split(cuts), strict=True)
    ]
    whole = torch.cat(counted) if metric.combine == "rows" else torch.stack(counted).sum(0)
    return metric.value(whole.double())


@st.composite
def classified(draw: st.DrawFn, least: int = 2, most: int = 7) -> tuple[Tensor, Tensor, list[int]]:
    """(logits (N, C), classes (N,), cuts), with every class present."""
    classes = draw(st.integers(least, most))
    n = draw(st.integers(classes + 2, 60))
    g = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    y = torch.cat([torch.arange(classes), torch.randint(0, classes, (n - classes,), generator=g)])
    logits = torch.randn(n, classes, generator=g) * 2 + torch.nn.functional.one_hot(y, classes)
    if draw(st.booleans()):
        logits = logits.round()  # ties
    order = torch.randperm(n, generator=g)
    cuts = sorted(draw(st.lists(st.integers(1, n - 1), max_size=4, unique=True)))
    return logits[order], y[order], cuts


@given(classified())
@settings(max_examples=15, deadline=None)
def test_metrics_of_classes_agree_with_scikit_learn(case: tuple[Tensor, Tensor, list[int]]) -> None:
    logits, y, cuts = case
    classes = logits.shape[1]
    p, said, all_classes = logits.double().softmax(1).numpy(), logits.argmax(1), list(range(classes))
    scores = {
        "accuracy": (numbers.accuracy(), sk.accuracy_score(y, said)),
        "macro_f1": (numbers.macro_f1(classes), sk.f1_score(y, said, average="macro")),
        "log_loss": (numbers.log_loss(), sk.log_loss(y, p, labels=all_classes)),
        "auroc": (
            numbers.auroc(classes),
            sk.roc_auc_score(y, p[:, 1]) if classes == 2 else sk.roc_auc_score(y, p, multi_class="ovr"),
        ),
    }
    for name, (metric, expected) in scores.items():
        assert measured(metric, "logits", logits, y, cuts) == pytest.approx(expected, rel=1e-9), name


@given(classified(least=6))
@settings(max_examples=10, deadline=None)
def test_top_five_agrees_with_scikit_learn(case: tuple[Tensor, Tensor, list[int]]) -> None:
    logits, y, cuts = case
    logits = logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(0)) * 1e-3  # no ties
    expected = sk.top_k_accuracy_score(y, logits.double().numpy(), k=5, labels=list(range(logits.shape[1])))
    assert measured(numbers.accuracy(top=5), "logits", logits, y, cuts) == pytest.approx(expected)


@given(
    n=st.integers(2, 50),
    k=st.integers(1, 4),
    seed=st.integers(0, 10**6),
    offset=st.sampled_from([0.0, 1e3, -1e6]),
    data=st.data(),
)
@settings(max_examples=15, deadline=None)
def test_metrics_of_numbers_agree_with_scikit_learn(
    n: int, k: int, seed: int, offset: float, data: st.DataObject
) -> None:
    g = torch.Generator().manual_seed(seed)
    y = torch.randn(n, k, generator=g, dtype=torch.float64) * 3 + offset
    value = y + torch.randn(n, k, generator=g, dtype=torch.float64)
    cuts = sorted(data.draw(st.lists(st.integers(1, n - 1), max_size=4, unique=True)))
    a, b = y.numpy(), value.numpy()
    found = {
        "rmse": (numbers.rmse(scale=1.5), 1.5 * math.sqrt(sk.mean_squared_error(a, b))),
        "mae": (numbers.mae(scale=1.5), 1.5 * sk.mean_absolute_error(a, b)),
        "r2": (numbers.r2(shift=[offset] * k), sk.r2_score(a, b)),
    }
    for name, (metric, expected) in found.items():
        assert measured(metric, "value", value, y, cuts) == pytest.approx(expected, rel=1e-9), name


def test_r2_keeps_its_digits_far_from_zero_when_it_knows_the_mean() -> None:
    g = torch.Generator().manual_seed(0)
    y = torch.randn(1000, 2, generator=g, dtype=torch.float64) + torch.tensor([1e9, 1.0])
    value = y + 0.1 * torch.randn(1000, 2, generator=g, dtype=torch.float64)
    exact = sk.r2_score(y.numpy(), value.numpy())
    assert measured(numbers.r2(shift=[1e9, 1.0]), "value", value, y, [3, 700]) == pytest.approx(exact, rel=1e-10)


def test_a_target_without_variance_scores_as_in_scikit_learn() -> None:
    y = torch.full((5,), 3.3, dtype=torch.float64)
    for value in (y, y + 1):
        expected = sk.r2_score(y.numpy(), value.numpy())
        assert measured(numbers.r2(), "value", value, y, [2]) == expected


def test_yes_and_no_are_told_apart_at_the_threshold() -> None:
    logits, y = torch.tensor([[-1.0], [0.5], [2.0], [0.1]]), torch.tensor([0.0, 1.0, 0.0, 1.0])
    assert measured(numbers.binary_accuracy(), "logits", logits, y, [1]) == 0.75
    assert measured(numbers.binary_accuracy(threshold=0.3), "logits", logits, y, [1]) == 0.5


def test_ignored_classes_do_not_count() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [0.0, 2.0]])
    y = torch.tensor([0, 0, -100, 1])
    kept = y >= 0
    builders: list[Callable[[], Metric]] = [numbers.accuracy, numbers.log_loss, lambda: numbers.macro_f1(2)]
    for make in builders:
        assert measured(make(), "logits", logits, y, [1]) == measured(make(), "logits", logits[kept], y[kept])


def test_positions_within_a_sample_count_each() -> None:
    logits, y = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0)), torch.randint(0, 3, (4, 5))
    flat, said = y.flatten().numpy(), logits.argmax(1).flatten().numpy()
    assert measured(numbers.accuracy(), "logits", logits, y, [1]) == pytest.approx(sk.accuracy_score(flat, said))
    expected = sk.log_loss(flat, logits.double().softmax(1).transpose(1, 2).reshape(-1, 3).numpy(), labels=[0, 1, 2])
    assert measured(numbers.log_loss(), "logits", logits, y, [1]) == pytest.approx(expected)


def test_an_area_without_both_kinds_of_sample_is_unknown() -> None:
    logits = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    assert math.isnan(measured(numbers.auroc(2), "logits", logits, torch.zeros(4, dtype=torch.int64)))


def test_a_class_that_does_not_occur_is_left_out_of_the_mean_area() -> None:
    g = torch.Generator().manual_seed(0)
    logits, y = torch.randn(30, 3, generator=g), torch.randint(0, 2, (30,), generator=g)
    p = logits.double().softmax(1).numpy()
    expected = np.mean([sk.roc_auc_score(y == c, p[:, c]) for c in (0, 1)])
    assert measured(numbers.auroc(3), "logits", logits, y, [7]) == pytest.approx(expected)


def test_certain_outputs_are_still_ordered() -> None:
    """Probabilities would all round to 1."""
    logits = torch.tensor([[0.0, 100.0], [0.0, 200.0], [0.0, 300.0]])
    assert measured(numbers.auroc(2), "logits", logits, torch.tensor([0, 1, 1])) == 1.0


def test_nan_is_never_right_and_never_hidden() -> None:
    logits, y = torch.full((3, 2), math.nan), torch.tensor([0, 0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert measured(numbers.accuracy(), "logits", logits, y) == 0
        assert math.isnan(measured(numbers.auroc(2), "logits", logits, y))
        assert math.isnan(measured(numbers.log_loss(), "logits", logits, y))
        assert math.isnan(measured(numbers.rmse(), "value", torch.full((3,), math.nan), torch.zeros(3)))


def test_statistics_are_kept_in_double_precision() -> None:
    y = torch.zeros(3)
    for metric in (numbers.rmse(), numbers.mae(), numbers.r2()):
        assert metric.count({"value": y}, batch_of(y)).dtype == torch.float64
