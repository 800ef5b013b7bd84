"""Metrics of classes: which one is said, against which one is true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.kinds import metrics
from trainwright.core.task import Classes, Metric, Outputs
from trainwright.metrics.tallies import once, positions, ratio, ratios, wide


@metrics.add("accuracy", of=Classes)
def accuracy(of: Classes) -> Metric:
    """Share of the samples whose likeliest class is the true one.

    Source: scikit-learn's accuracy_score.
    """
    return _hits(of, 1)


@metrics.add("top_k_accuracy", of=Classes)
def top_k_accuracy(of: Classes, *, k: Annotated[int, Field(ge=1)] = 5) -> Metric:
    """Share of the samples whose true class is among the k likeliest.

    Args:
        k: classes that may be named; with as many as there are, every sample is right.

    Source: scikit-learn's top_k_accuracy_score.
    """
    return _hits(of, k)


@metrics.add("balanced_accuracy", of=Classes)
def balanced_accuracy(of: Classes) -> Metric:
    """The mean of the classes' recalls, over the classes that occur: chance is one over their number.

    Source: scikit-learn's balanced_accuracy_score; Brodersen et al. 2010, "The balanced accuracy and its posterior
    distribution".
    """

    def many(rows: Tensor, weights: Tensor) -> Tensor:
        hits, _, true = _by_class(rows, weights)
        there = true > 0
        return torch.where(there, hits / true, 0.0).sum(1) / there.sum(1)

    return Metric(_pairs_of(of), once(many), "higher", combine="rows", many=many)


@metrics.add("macro_f1", of=Classes)
def macro_f1(of: Classes) -> Metric:
    """The mean of the classes' F1, over the classes that occur among true or said ones.

    Source: scikit-learn's f1_score with average="macro".
    """

    def many(rows: Tensor, weights: Tensor) -> Tensor:
        hits, said, true = _by_class(rows, weights)
        there = said + true > 0
        return torch.where(there, 2 * hits / (said + true), 0.0).sum(1) / there.sum(1)

    return Metric(_pairs_of(of), once(many), "higher", combine="rows", many=many)


def pairs(of: Classes) -> Metric:
    """Keeps (true, said) for every sample, of which a confusion matrix is made; its value, their number, says little.

    A class that is said is -1 where the outputs are NaN.
    """
    return Metric(_pairs_of(of), lambda rows: float((rows[..., 0] >= 0).sum()), "higher", combine="rows", when="final")


def confusion(rows: Tensor, classes: int) -> Tensor:
    """(C, C) int64 how often class i (the row) was called class j, from the rows of `pairs`."""
    flat, _ = positions(rows, rows.new_ones(1, len(rows)))
    true, said = flat.long().unbind(1)
    fit = (said >= 0) & (said < classes) & (true < classes)
    return torch.bincount(true[fit] * classes + said[fit], minlength=classes * classes).reshape(classes, classes)


def _hits(of: Classes, k: int) -> Metric:
    def count(outputs: Outputs, batch: Batch) -> Tensor:
        scores, true = of.logits(outputs), of.truth(batch)
        k_or_all = min(k, scores.shape[1])
        best, picked = scores.max(1, keepdim=True) if k == 1 else scores.topk(k_or_all, dim=1)
        counts = true >= 0
        hits = ((picked == true.unsqueeze(1)) & ~best.isnan()).any(1) & counts  # NaN is never right
        return wide(torch.stack([_total(hits), _total(counts)], 1))

    return Metric(count, ratio, "higher", many=ratios)


def _total(x: Tensor) -> Tensor:
    """(N,)."""
    return x.flatten(1).sum(1) if x.ndim > 1 else x


def _pairs_of(of: Classes) -> Callable[[Outputs, Batch], Tensor]:
    def count(outputs: Outputs, batch: Batch) -> Tensor:
        """(N, P, 2) the true class and the one said, at each of P positions."""
        logits, true = of.logits(outputs), of.truth(batch)
        best, said = logits.max(1)
        said = said.masked_fill(best.isnan(), -1)
        return wide(torch.stack([true.reshape(len(true), -1), said.reshape(len(true), -1)], 2))

    return count


def _by_class(rows: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, C) each: how often every class is right, said, and true; a said -1 is none of them."""
    flat, weights = positions(rows, weights)
    true, said = flat.long().unbind(1)
    classes = int(flat.max()) + 1 if len(flat) else 1
    empty = weights.new_zeros(len(weights), classes + 1)  # the last takes what is none
    none = torch.where(said < 0, classes, said)
    right = torch.where(said == true, true, classes)
    found = [empty.index_add(1, which, weights)[:, :classes] for which in (right, none, true)]
    return found[0], found[1], found[2]
