"""Metrics of probabilities: how well they order the samples, how likely they make the truth, how far they are right."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.kinds import metrics
from trainwright.core.task import Classes, Metric, Outputs
from trainwright.metrics.tallies import once, positions, ratio, ratios, wide


@metrics.add("auroc", of=Classes)
def auroc(of: Classes) -> Metric:
    """Area under the ROC curve: of the second class for two, else the mean of each class against the rest.

    A class with no example, or nothing but examples, has no curve and is left out of the mean; NaN if that leaves none.

    Source: scikit-learn's roc_auc_score, with multi_class="ovr" and average="macro" for more than two classes.
    """

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        """(N, P, 1 + C) the true class and a score of each class, or of the second of two, at each of P positions."""
        logits, true = wide(of.logits(outputs)), of.truth(batch)
        # the difference orders samples as the probability does, but never rounds to 1
        two = logits.shape[1] == 2
        scores = (logits[:, 1:] - logits[:, :1]) if two else logits.softmax(1)
        flat = scores.reshape(*scores.shape[:2], -1).transpose(1, 2)
        return torch.cat([true.reshape(len(true), -1, 1).to(flat.dtype), flat], 2)

    def many(rows: Tensor, weights: Tensor) -> Tensor:
        flat, weights = positions(rows, weights)
        true, scores = flat[:, 0], flat[:, 1:]
        if bool(scores.isnan().any()):
            return weights.new_full((len(weights),), math.nan)
        weights = weights.float()  # sums of whole numbers below 2**24 stay exact
        numbers = (1,) if scores.shape[1] == 1 else range(scores.shape[1])
        return torch.stack([areas(scores[:, i], true == c, weights) for i, c in enumerate(numbers)]).nanmean(0)

    return Metric(count, once(many), "higher", combine="rows", many=many)


def areas(scores: Tensor, positive: Tensor, weights: Tensor) -> Tensor:
    """(B,) the chance that a positive (N,) scores above a negative, ties counting half; NaN without either.

    Each sample counts as often as weights (B, N) say.

    Source: Hanley & McNeil 1982, by the rank sum of Mann and Whitney.
    """
    negatives = (~positive).nonzero().squeeze(1)
    down, order = scores[negatives].sort()
    up, ups = scores[positive], weights[:, positive]
    downs = weights[:, negatives[order]]
    below = torch.cat([downs.new_zeros(len(downs), 1), downs.cumsum(1)], 1)
    first, last = torch.searchsorted(down, up), torch.searchsorted(down, up, right=True)
    beaten = below[:, first] + below[:, last] if bool((first < last).any()) else 2 * below[:, first]
    won = (ups * beaten).sum(1, dtype=torch.float64)
    return won / (2 * ups.sum(1, dtype=torch.float64) * below[:, -1])  # 0 / 0 is NaN


@metrics.add("log_loss", of=Classes)
def log_loss(of: Classes) -> Metric:
    """Minus the mean log-probability of the true classes, in nats; whatever loss was trained with.

    Source: scikit-learn's log_loss, without its clipping of probabilities.
    """

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        true = of.truth(batch)
        counts = true >= 0
        logs = wide(of.logits(outputs)).log_softmax(1).gather(1, true.clamp_min(0).unsqueeze(1)).squeeze(1)
        lost = -torch.where(counts, logs, 0).reshape(len(true), -1).sum(1)
        return torch.stack([lost, counts.reshape(len(true), -1).sum(1).to(lost.dtype)], 1)

    return Metric(count, ratio, "lower", many=ratios)


@metrics.add("brier", of=Classes)
def brier(of: Classes) -> Metric:
    """Brier score: the mean squared distance of the probabilities from the truth, halved where there are two classes.

    As the log loss it is smallest, in the mean, where the probabilities are true; unlike there, one certain mistake
    among many samples costs little.

    Source: Brier 1950, "Verification of forecasts expressed in terms of probability"; scikit-learn's brier_score_loss.
    """

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        true = of.truth(batch)
        counts = true >= 0
        said = wide(of.logits(outputs)).softmax(1)
        likely = said.gather(1, true.clamp_min(0).unsqueeze(1)).squeeze(1)
        distance = (said.square().sum(1) - 2 * likely + 1) * (0.5 if said.shape[1] == 2 else 1.0)
        lost = torch.where(counts, distance, 0).reshape(len(true), -1).sum(1)
        return torch.stack([lost, counts.reshape(len(true), -1).sum(1).to(lost.dtype)], 1)

    return Metric(count, ratio, "lower", many=ratios)


@metrics.add("calibration_error", of=Classes)
def calibration_error(of: Classes, *, bins: Annotated[int, Field(ge=1, le=1000)] = 15) -> Metric:
    """Expected calibration error: how far the probability of the likeliest class is from the share that is right.

    Samples are sorted by that probability into bins of equal width, (0, 1/15], …, (14/15, 1]. The error is the mean
    over the samples of their bin's distance |share right - mean probability|; 0 is perfect. It is biased upwards
    where bins hold few samples.

    Args:
        bins: of equal width between 0 and 1.

    Source: Guo et al. 2017, "On calibration of modern neural networks", eq. 3; Naeini et al. 2015.
    """

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        """(N, P, 3) the true class, the probability of the likeliest, and whether they are the same."""
        best, said = wide(of.logits(outputs)).softmax(1).max(1)
        true = of.truth(batch)
        columns = [true.to(best.dtype), best, (said == true).to(best.dtype)]
        return torch.stack([c.reshape(len(true), -1) for c in columns], 2)

    def many(rows: Tensor, weights: Tensor) -> Tensor:
        flat, weights = positions(rows, weights)
        if bool(flat[:, 1].isnan().any()):
            return weights.new_full((len(weights),), math.nan)
        place = ((flat[:, 1] * bins).ceil().long() - 1).clamp(0, bins - 1)
        gaps = weights.new_zeros(len(weights), bins).index_add(1, place, weights * (flat[:, 2] - flat[:, 1]))
        return gaps.abs().sum(1) / weights.sum(1)

    return Metric(count, once(many), "lower", combine="rows", many=many)
