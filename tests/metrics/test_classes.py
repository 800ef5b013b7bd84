"""Metrics of classes and of their probabilities agree with scikit-learn, however the samples are cut into batches."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from torch import Tensor

from tests.metrics.measuring import CLASSES, batch_of, drawn, measured, rows_of
from trainwright.core.kinds import metrics
from trainwright.core.task import Classes, Metric
from trainwright.metrics.classes import confusion, pairs

Case = tuple[Tensor, Tensor, list[int]]
NAMES = [n for n in metrics.names() if metrics.tags(n)["of"] is Classes and n in metrics]


def made(name: str) -> Metric:
    return metrics[name](CLASSES)


@st.composite
def classified(draw: st.DrawFn, least: int = 2, most: int = 7) -> Case:
    """(logits (N, C), classes (N,), cuts): balanced or hardly, with ties or without, not always every class."""
    classes = draw(st.integers(least, most))
    n = draw(st.integers(2, 60))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    shares = rng.dirichlet(np.full(classes, draw(st.sampled_from([0.1, 1.0, 100.0]))))
    y = torch.from_numpy(rng.choice(classes, n, p=shares))
    logits = torch.from_numpy(rng.normal(size=(n, classes)) * 2) + torch.nn.functional.one_hot(y, classes)
    if draw(st.booleans()):
        logits = logits.round()  # ties
    cuts = sorted(draw(st.lists(st.integers(1, n - 1), max_size=4, unique=True)))
    return logits, y, cuts


def probabilities(logits: Tensor) -> np.ndarray:
    return logits.double().softmax(1).numpy()


def mean_area(y: Tensor, logits: Tensor) -> float:
    """By scikit-learn, class by class: its own macro mean refuses parts that miss a class."""
    p = probabilities(logits)
    if p.shape[1] == 2:
        both = len(y.unique()) == 2
        return float(sk.roc_auc_score(y, (logits[:, 1] - logits[:, 0]).numpy())) if both else math.nan
    there = [c for c in range(p.shape[1]) if 0 < int((y == c).sum()) < len(y)]
    return float(np.mean([sk.roc_auc_score(y == c, p[:, c]) for c in there])) if there else math.nan


def guo(y: Tensor, logits: Tensor, bins: int) -> float:
    """Equation 3 of Guo et al. 2017, bin by bin."""
    p = probabilities(logits)
    confidence, right = p.max(1), p.argmax(1) == y.numpy()
    error = 0.0
    for m in range(1, bins + 1):
        inside = (confidence > (m - 1) / bins) & (confidence <= m / bins)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return error


REFERENCES: dict[str, Callable[[Tensor, Tensor], float]] = {
    "accuracy": lambda y, z: sk.accuracy_score(y, z.argmax(1)),
    "balanced_accuracy": lambda y, z: sk.balanced_accuracy_score(y, z.argmax(1)),
    "macro_f1": lambda y, z: sk.f1_score(y, z.argmax(1), average="macro"),
    "log_loss": lambda y, z: sk.log_loss(y, probabilities(z), labels=range(z.shape[1])),
    "brier": lambda y, z: sk.brier_score_loss(y, probabilities(z), labels=range(z.shape[1])),
    "auroc": mean_area,
    "calibration_error": lambda y, z: guo(y, z, 15),
    "top_k_accuracy": lambda y, z: (
        sk.top_k_accuracy_score(y, z, k=5, labels=range(z.shape[1])) if z.shape[1] > 5 else 1.0
    ),
}


def test_every_metric_of_classes_has_a_reference() -> None:
    ours = {n for n in NAMES if metrics[n].__module__.startswith("trainwright.")}
    assert ours == REFERENCES.keys()


@given(case=classified())
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_it_agrees_with_its_reference(name: str, case: Case) -> None:
    logits, y, cuts = case
    if name == "top_k_accuracy":  # which of the tied are named is nobody's law
        logits = logits + 1e-3 * torch.arange(logits.shape[1]).flip(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        expected = REFERENCES[name](y, logits)
    assert measured(made(name), logits, y, cuts) == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)


@given(case=classified(), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_many_resamples_at_once_are_what_each_is_alone(name: str, case: Case, seed: int) -> None:
    logits, y, _ = case
    rng = np.random.default_rng(seed)
    weights = torch.from_numpy(rng.multinomial(len(y), np.full(len(y), 1 / len(y)), size=4))
    found = drawn(made(name), logits, y, weights)
    assert found["at once"] == pytest.approx(found["one by one"], rel=1e-9, abs=1e-12, nan_ok=True)


@given(case=classified())
@settings(max_examples=15, deadline=None)
def test_the_confusion_matrix_is_scikit_learns(case: Case) -> None:
    logits, y, _ = case
    classes = logits.shape[1]
    expected = sk.confusion_matrix(y, logits.argmax(1), labels=range(classes))
    assert confusion(rows_of(pairs(CLASSES), logits, y), classes).tolist() == expected.tolist()


def test_the_confusion_matrix_leaves_out_what_does_not_count_and_what_is_nan() -> None:
    logits = torch.tensor([[0.0, 1.0], [1.0, 0.0], [math.nan, 0.0], [0.0, 1.0]])
    rows = rows_of(pairs(CLASSES), logits, torch.tensor([1, -100, 0, 0]))
    assert confusion(rows, 2).tolist() == [[0, 1], [0, 1]]


def test_ignored_classes_do_not_count() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [0.0, 2.0], [0.5, 0.1]])
    y = torch.tensor([0, 0, -100, 1, 1])
    kept = y >= 0
    for name in REFERENCES:
        assert measured(made(name), logits, y, [1]) == pytest.approx(measured(made(name), logits[kept], y[kept])), name


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_positions_within_a_sample_count_each(name: str) -> None:
    g = torch.Generator().manual_seed(0)
    logits, y = torch.randn(6, 3, 5, generator=g), torch.randint(0, 3, (6, 5), generator=g)
    flat = logits.transpose(1, 2).reshape(-1, 3)
    assert measured(made(name), logits, y, [1]) == pytest.approx(measured(made(name), flat, y.flatten()))


def test_a_part_with_one_class_has_no_area_and_all_else() -> None:
    logits = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    y = torch.zeros(4, dtype=torch.int64)
    found = {name: measured(made(name), logits, y) for name in REFERENCES}
    assert [name for name, value in found.items() if math.isnan(value)] == ["auroc"]


def test_certain_outputs_are_still_ordered() -> None:
    """Probabilities would all round to 1."""
    logits = torch.tensor([[0.0, 100.0], [0.0, 200.0], [0.0, 300.0]])
    assert measured(made("auroc"), logits, torch.tensor([0, 1, 1])) == 1.0


def test_nan_is_never_right_and_never_hidden() -> None:
    logits, y = torch.full((3, 2), math.nan), torch.tensor([0, 0, 1])
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert measured(made(name), logits, y) == 0, name
    for name in ("auroc", "log_loss", "calibration_error"):
        assert math.isnan(measured(made(name), logits, y)), name


def test_the_bins_of_the_calibration_error_can_be_chosen() -> None:
    g = torch.Generator().manual_seed(0)
    logits, y = torch.randn(80, 3, generator=g), torch.randint(0, 3, (80,), generator=g)
    for bins in (1, 5, 40):
        found = measured(metrics["calibration_error"](CLASSES, bins=bins), logits, y, [30])
        assert found == pytest.approx(guo(y, logits, bins))


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_rows_are_kept_in_double_precision(name: str) -> None:
    assert made(name).count({"out": torch.zeros(3, 2)}, batch_of(torch.tensor([0, 1, 1]))).dtype == torch.float64
