"""Metrics of numbers: errors in the target's own unit, and the share of its variance that is explained."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.kinds import metrics
from trainwright.core.task import Metric, Numbers, Outputs
from trainwright.metrics.tallies import ratio, ratios, summed, totals, wide


@metrics.add("rmse", of=Numbers)
def rmse(of: Numbers) -> Metric:
    """Root of the mean squared error over all numbers, in the target's own unit.

    Source: scikit-learn's root_mean_squared_error.
    """

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        return summed(_error(of, outputs, batch).square())

    def many(rows: Tensor, weights: Tensor) -> Tensor:
        return ratios(rows, weights).sqrt() * of.scale

    return Metric(count, lambda total: math.sqrt(ratio(total)) * of.scale, "lower", many=many)


@metrics.add("mae", of=Numbers)
def mae(of: Numbers) -> Metric:
    """Mean absolute error over all numbers, in the target's own unit.

    Source: scikit-learn's mean_absolute_error.
    """

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        return summed(_error(of, outputs, batch).abs())

    def many(rows: Tensor, weights: Tensor) -> Tensor:
        return ratios(rows, weights) * of.scale

    return Metric(count, lambda total: ratio(total) * of.scale, "lower", many=many)


@metrics.add("r2", of=Numbers)
def r2(of: Numbers) -> Metric:
    """Share of the target's variance that is explained, the mean over its numbers; 0 for the mean, below for worse.

    A target without variance scores 1 when it is met exactly and 0 otherwise.

    Source: scikit-learn's r2_score.
    """

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        """(N, 4, K) squared error, the target off its centre, the square of that (nothing is lost to rounding), 1."""
        true = _columns(of.truth(batch))
        off = true - torch.tensor(of.centre, dtype=true.dtype, device=true.device)
        error = _columns(of.value(outputs)) - true
        return torch.stack([error.square(), off, off.square(), torch.ones_like(off)], 1)

    def value(total: Tensor) -> float:
        return float(_explained(total.unsqueeze(0))[0])

    return Metric(count, value, "higher", many=lambda rows, weights: _explained(totals(rows, weights)))


def _explained(total: Tensor) -> Tensor:
    """(B,) from the sums (B, 4, K)."""
    error, off, squares, n = total.unbind(1)
    spread = squares - off.square() / n
    flat = spread <= squares * 1e-13  # rounding, not variance
    constant = (error == 0).to(error.dtype)
    return torch.where(flat, constant, 1 - error / spread.masked_fill(flat, 1)).mean(1)


def _error(of: Numbers, outputs: Outputs, batch: Batch) -> Tensor:
    said, true = of.value(outputs), of.truth(batch)
    assert said.shape == true.shape, f"{tuple(said.shape)} against {tuple(true.shape)}"
    return wide(said) - wide(true)


def _columns(x: Tensor) -> Tensor:
    """(N, K) in float64."""
    return wide(x.flatten(1) if x.ndim > 1 else x.unsqueeze(1))
