"""Metrics of classes and numbers, as builders of `Metric`: statistics that add, or rows where nothing adds up.

``output`` names the entry of a task's outputs, ``target`` the entry of a batch's targets, or reads it from the batch.
Class numbers below 0 do not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.task import Metric, Outputs

Target: TypeAlias = str | Callable[[Batch], Tensor]
When: TypeAlias = Literal["each", "final"]


def accuracy(output: str = "logits", target: Target = "y", *, top: int = 1, when: When = "each") -> Metric:
    """Share of class targets (N, …) among the ``top`` largest of the outputs (N, C, …)."""

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        scores, true = outputs[output], _read(target, batch)
        best, picked = scores.max(1, keepdim=True) if top == 1 else scores.topk(top, dim=1)
        counts = true >= 0
        hits = ((picked == true.unsqueeze(1)) & ~best.isnan()).any(1) & counts  # NaN is never right
        return _wide(torch.stack([hits.sum(), counts.sum()]))

    return Metric(count, _ratio, "higher", when=when)


def binary_accuracy(
    output: str = "logits", target: Target = "y", *, threshold: float = 0.0, when: When = "each"
) -> Metric:
    """Share of yes-or-no targets that lie on the same side as the output of ``threshold``; targets are cut at 0.5."""

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        true = _read(target, batch)
        hits = (outputs[output].reshape(true.shape) > threshold) == (true > 0.5)
        return _wide(torch.stack([hits.sum(), torch.ones_like(hits).sum()]))

    return Metric(count, _ratio, "higher", when=when)


def macro_f1(classes: int, output: str = "logits", target: Target = "y", *, when: When = "each") -> Metric:
    """The mean of the classes' F1, over those that occur among targets or predictions, as scikit-learn has it."""

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        true = _read(target, batch).flatten()
        said = outputs[output].argmax(1).flatten()
        numbers = torch.arange(classes, device=true.device)
        counts = (true >= 0).unsqueeze(1)
        is_true, is_said = true.unsqueeze(1) == numbers, (said.unsqueeze(1) == numbers) & counts
        return _wide(torch.stack([(is_true & is_said).sum(0), is_said.sum(0), is_true.sum(0)]))

    def value(total: Tensor) -> float:
        hits, said, true = total
        there = said + true > 0
        return float((2 * hits[there] / (said + true)[there]).mean())

    return Metric(count, value, "higher", when=when)


def auroc(classes: int, output: str = "logits", target: Target = "y", *, when: When = "each") -> Metric:
    """Area under the ROC curve: of the second class for two, else the mean of each class against the rest.

    A class with no example, or nothing but examples, has no curve and is left out of the mean; NaN if that leaves none.
    """

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        logits, true = _wide(outputs[output]), _read(target, batch)
        # the difference orders samples as the probability does, but never rounds to 1
        scores = (logits[:, 1] - logits[:, 0]).unsqueeze(1) if classes == 2 else logits.softmax(1)
        return torch.cat([true.to(scores.dtype).unsqueeze(1), scores], 1)

    def value(rows: Tensor) -> float:
        true, scores = rows[:, 0], rows[:, 1:]
        if bool(scores.isnan().any()):
            return math.nan
        positive = range(1, 2) if classes == 2 else range(classes)
        areas = [area_under_roc(scores[:, i], true == c) for i, c in enumerate(positive)]
        known = [a for a in areas if not math.isnan(a)]
        return sum(known) / len(known) if known else math.nan

    return Metric(count, value, "higher", combine="rows", when=when)


def area_under_roc(scores: Tensor, positive: Tensor) -> float:
    """The chance that a positive (N,) scores above a negative, ties counting half; NaN without either.

    Source: Hanley & McNeil 1982, by the rank sum of Mann and Whitney.
    """
    pos = int(positive.sum())
    neg = len(positive) - pos
    if not pos or not neg:
        return math.nan
    _, place, size = scores.unique(return_inverse=True, return_counts=True)
    ends = size.cumsum(0).double()
    rank = (ends - (size - 1) / 2)[place]  # the mean rank of the tied, counted from 1
    return float((rank[positive].sum() - pos * (pos + 1) / 2) / (pos * neg))


def log_loss(output: str = "logits", target: Target = "y", *, when: When = "each") -> Metric:
    """Minus the mean log-probability of the true classes (N, …), from logits (N, C, …); in nats."""

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        true = _read(target, batch)
        counts = true >= 0
        logs = _wide(outputs[output]).log_softmax(1).gather(1, true.clamp_min(0).unsqueeze(1)).squeeze(1)
        return torch.stack([-torch.where(counts, logs, 0).sum(), counts.sum().to(logs.dtype)])

    return Metric(count, _ratio, "lower", when=when)


def rmse(output: str = "value", target: Target = "y", *, scale: float = 1.0, when: When = "each") -> Metric:
    """Root of the mean squared error over all numbers, times ``scale`` (the unit of a standardized target)."""

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        return _summed(_error(outputs[output], _read(target, batch)).square())

    return Metric(count, lambda total: math.sqrt(_ratio(total)) * scale, "lower", when=when)


def mae(output: str = "value", target: Target = "y", *, scale: float = 1.0, when: When = "each") -> Metric:
    """Mean absolute error over all numbers, times ``scale`` (the unit of a standardized target)."""

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        return _summed(_error(outputs[output], _read(target, batch)).abs())

    return Metric(count, lambda total: _ratio(total) * scale, "lower", when=when)


def r2(output: str = "value", target: Target = "y", *, shift: Sequence[float] = (0.0,), when: When = "each") -> Metric:
    """Share of the target's variance that is explained, the mean over its K numbers.

    ``shift`` (K or 1 numbers) is taken off the targets before their squares are summed: near their mean, nothing is
    lost to rounding. A target without variance scores 1 when it is met exactly and 0 otherwise, as in scikit-learn.
    """

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        true = _wide(_columns(_read(target, batch)))
        off = true - torch.tensor(shift, dtype=true.dtype, device=true.device)
        error = _wide(_columns(outputs[output])) - true
        return torch.stack([error.square().sum(0), off.sum(0), off.square().sum(0), torch.ones_like(off).sum(0)])

    def value(total: Tensor) -> float:
        error, off, squares, n = total
        spread = squares - off.square() / n
        flat = spread <= squares * 1e-13  # rounding, not variance
        constant = (error == 0).double()
        return float(torch.where(flat, constant, 1 - error / spread.masked_fill(flat, 1)).mean())

    return Metric(count, value, "higher", when=when)


def _read(target: Target, batch: Batch) -> Tensor:
    return batch.targets[target] if isinstance(target, str) else target(batch)


def _wide(x: Tensor) -> Tensor:
    """In float64, where the device has it: what is counted adds up to the end."""
    return x.to(torch.float32 if x.device.type == "mps" else torch.float64)


def _error(output: Tensor, target: Tensor) -> Tensor:
    assert output.shape == target.shape, f"{tuple(output.shape)} against {tuple(target.shape)}"
    return _wide(output) - _wide(target)


def _columns(x: Tensor) -> Tensor:
    """(N, K)."""
    return x.flatten(1) if x.ndim > 1 else x.unsqueeze(1)


def _summed(values: Tensor) -> Tensor:
    return torch.stack([values.sum(), torch.ones_like(values).sum()])


def _ratio(total: Tensor) -> float:
    return float(total[0] / total[1])
