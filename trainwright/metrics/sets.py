"""Metrics of several labels per sample: which were said, against which are true."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.task import Metric, Outputs
from trainwright.metrics.tallies import ratio, ratios, totals, wide

Read = Callable[[Outputs, Batch], tuple[Tensor, Tensor]]  # (N, L) whether each label is said, and true


def exact_match(read: Read) -> Metric:
    """Share of the samples whose labels are all right. Source: scikit-learn's accuracy_score of label sets."""

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        said, true = read(outputs, batch)
        right = (said == true).all(1)
        return wide(torch.stack([right, torch.ones_like(right)], 1))

    return Metric(count, ratio, "higher", many=ratios)


def micro_f1(read: Read) -> Metric:
    """F1 of all labels together. Source: scikit-learn's f1_score with average="micro"."""
    return _f1(read, lambda hits, both: _share(hits.sum(1), both.sum(1)))


def macro_f1(read: Read) -> Metric:
    """The mean of the labels' F1, over the labels that occur among true or said ones.

    Source: scikit-learn's f1_score with average="macro", zero_division=nan.
    """

    def mean(hits: Tensor, both: Tensor) -> Tensor:
        there = both > 0
        return torch.where(there, _share(hits, both), 0.0).sum(1) / there.sum(1).clamp_min(1)

    return _f1(read, mean)


def _f1(read: Read, value: Callable[[Tensor, Tensor], Tensor]) -> Metric:
    def count(outputs: Outputs, batch: Batch) -> Tensor:
        """(N, L, 2): twice the hits, and how often the label is said or true."""
        said, true = (wide(x) for x in read(outputs, batch))
        return torch.stack([2 * said * true, said + true], 2)

    def of_totals(sums: Tensor) -> Tensor:
        return value(sums[..., 0], sums[..., 1])

    return Metric(
        count,
        lambda total: float(of_totals(total[None])[0]),
        "higher",
        many=lambda rows, weights: of_totals(totals(rows, weights)),
    )


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole.clamp_min(1), 0.0)
